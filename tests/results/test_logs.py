"""What a trial wrote is read in pieces, and nothing else can be."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_workspace import Sample

from autoprune.errors import NotFoundError
from autoprune.records import TrialState
from autoprune.results import Results
from autoprune.results.logs import MOST, Log, Piece
from autoprune.store import trials


def results_of(sample: Sample) -> Results:
    return Results(sample.workspace, sample.store)


def write(sample: Sample, data: bytes, number: int = 0, attempt: int = 0, stream: str = "stdout") -> Path:
    file = sample.workspace.attempt(sample.id, number, attempt) / stream
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


@pytest.fixture
def log(sample: Sample) -> Log:
    """Ten bytes."""
    write(sample, b"0123456789")
    return results_of(sample).log(None, 0, "stdout")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (3, 5, b"34"),
        (9, 100, b"9"),
        (10, None, b""),
        (100, 200, b""),
        (5, 3, b""),
        (0, 10**18, b"0123456789"),
    ],
)
def test_pieces(log: Log, start: int, end: int | None, expected: bytes) -> None:
    piece = log.read(start, end)
    assert (piece.data, piece.size) == (expected, 10)
    assert piece.end - piece.start == len(expected)
    assert piece.data == b"0123456789"[piece.start : piece.end]


@pytest.mark.parametrize(("count", "expected"), [(0, b""), (3, b"789"), (10, b"0123456789"), (99, b"0123456789")])
def test_the_last_bytes(log: Log, count: int, expected: bytes) -> None:
    assert log.last(count).data == expected


@given(st.lists(st.sampled_from([b"a", b"\n", b"bb", b"\r\n"]), max_size=12), st.integers(1, 6))
def test_the_tail_is_the_last_lines(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], lines: int) -> None:
    data = b"".join(parts)
    folder = tmp_path_factory.mktemp("experiment")
    file = folder / "trials" / "0" / "attempts" / "0" / "stdout"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    piece = Log(folder, 0, 0, "stdout").tail(lines)
    whole = data.split(b"\n")
    ended = whole[-1] == b""
    expected = b"\n".join(whole[-lines - ended :])
    assert piece == Piece(len(data) - len(expected), len(data), len(data), expected)


def test_no_more_than_so_much_is_read_at_once(sample: Sample) -> None:
    """Of a file of a terabyte, most of it a hole."""
    file = write(sample, b"")
    size = 1 << 40
    os.truncate(file, size)
    log = results_of(sample).log(None, 0, "stdout")
    assert len(log.read().data) == len(log.read(7, size).data) == len(log.last(size).data) == MOST
    assert log.last(size).end == log.tail(10).end == log.read().size == size


def test_a_log_that_grows_is_read_on(sample: Sample) -> None:
    file = write(sample, b"one\n")
    log = results_of(sample).log(None, 0, "stdout")
    first = log.read()
    with file.open("ab") as more:
        more.write(b"two\n")
    second = log.read(first.end)
    assert (first.data + second.data, second.size) == (b"one\ntwo\n", 8)
    file.write_bytes(b"cut")
    assert log.read(second.end) == Piece(3, 3, 3, b"")


def test_the_last_attempt_unless_another_is_asked_for(sample: Sample) -> None:
    write(sample, b"first", 3, 0)
    write(sample, b"second", 3, 1)
    write(sample, b"oh", 3, 1, "stderr")
    results = results_of(sample)
    assert results.log("digits", 3, "stdout").read().text == "second"
    assert results.log("digits", 3, "stdout", 0).read().text == "first"
    assert results.log("digits", 3, "stderr").read().text == "oh"


def test_what_has_not_been_written_is_empty(sample: Sample) -> None:
    assert results_of(sample).log(None, 7, "stdout").read() == Piece(0, 0, 0, b"")


def test_what_was_removed_is_gone(sample: Sample) -> None:
    """Of an attempt whose process was started; before that there is no file yet."""
    file = write(sample, b"some", 7)
    log = results_of(sample).log(None, 7, "stdout")
    with sample.store.write() as tx:
        trials.set_process(tx, sample.id, 7, 0, 4711, 1.5)
    for removed in (file, *file.parents[:4]):
        shutil.rmtree(removed) if removed.is_dir() else removed.unlink()
        assert log.read() == Piece(0, 0, 0, b"")
        with pytest.raises(NotFoundError, match=r"stdout of attempt 0 of trial 7 of .* is gone"):
            results_of(sample).log(None, 7, "stdout").read()


@pytest.mark.parametrize(("number", "attempt"), [(8, None), (8, 0), (0, 1), (0, -1), (99, None), (-1, None)])
def test_what_there_is_not(sample: Sample, number: int, attempt: int | None) -> None:
    with pytest.raises(NotFoundError):
        results_of(sample).log(None, number, "stdout", attempt)


def test_what_is_no_text_is_replaced() -> None:
    assert Piece(0, 4, 4, b"a\xff\xc3b").text == "a��b"


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"a\xc3", b"a"),
        (b"a\xe2\x82", b"a"),
        (b"a\xf0\x9f\x98", b"a"),
        ("a😀".encode(), "a😀".encode()),
        ("é".encode(), "é".encode()),
        (b"a\xff", b"a\xff"),
        (b"a\xc3b", b"a\xc3b"),
        (b"\xc3", b"\xc3"),
        (b"", b""),
    ],
)
def test_a_character_that_is_not_whole_is_left_for_the_next_piece(data: bytes, whole: bytes) -> None:
    piece = Piece(10, 10 + len(data), 100, data).whole()
    assert piece == Piece(10, 10 + len(whole), 100, whole)


@pytest.mark.parametrize("data", [b"a\xc3", b"\xf0\x9f\x98"])
def test_half_a_character_that_nothing_follows_is_left_once_the_attempt_is_over(sample: Sample, data: bytes) -> None:
    write(sample, data)
    log = results_of(sample).log(None, 0, "stdout")
    assert log.over
    assert log.whole(log.read()) == log.read()
    running = replace(log, over=False)
    assert running.whole(running.read()) == running.read().whole()


@given(st.text("aé€😀\n", max_size=20), st.binary(max_size=3), st.integers(0, 70))
def test_a_boundary_is_in_the_middle_of_no_character(
    tmp_path_factory: pytest.TempPathFactory, text: str, more: bytes, start: int
) -> None:
    folder = tmp_path_factory.mktemp("experiment")
    file = folder / "trials" / "0" / "attempts" / "0" / "stdout"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode() + more)
    found = Log(folder, 0, 0, "stdout").boundary(start)
    assert start - 3 <= found <= start
    ends = [0, *accumulate(len(each.encode()) for each in text)]
    if start <= ends[-1]:
        assert found == max(end for end in ends if end <= start)


@given(st.text(max_size=30), st.integers(4, 9))
def test_pieces_of_text_put_together_are_the_text(text: str, size: int) -> None:
    data = text.encode()
    start, read = 0, ""
    while start < len(data):
        end = min(start + size, len(data))
        piece = Piece(start, end, len(data), data[start:end]).whole()
        read, start = read + piece.text, piece.end
    assert read == text


class TestNothingElseCanBeRead:
    """However a trial's folder was rearranged: by itself, as often as not."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        (folder / "stdout").write_text("secret")
        return folder

    def refused(self, sample: Sample) -> None:
        log = results_of(sample).log(None, 0, "stdout")
        for read in (log.read, lambda: log.last(5), lambda: log.tail(5), lambda: log.size):
            with pytest.raises(NotFoundError, match="not a plain file") as caught:
                read()
            assert str(sample.workspace.root) not in str(caught.value)

    def test_a_link_to_a_file(self, sample: Sample, secret: Path) -> None:
        file = write(sample, b"")
        file.unlink()
        file.symlink_to(secret / "stdout")
        self.refused(sample)

    def test_a_link_to_nothing(self, sample: Sample, secret: Path) -> None:
        file = write(sample, b"")
        file.unlink()
        file.symlink_to(secret / "none")
        self.refused(sample)

    @pytest.mark.parametrize("depth", range(5))
    def test_a_folder_that_is_a_link(self, sample: Sample, secret: Path, depth: int) -> None:
        file = write(sample, b"mine")
        linked = file.parents[depth]
        linked.rename(secret / "moved")
        linked.symlink_to(secret / "moved")
        assert file.read_bytes() == b"mine"
        self.refused(sample)

    def test_a_file_in_place_of_a_folder(self, sample: Sample) -> None:
        folder = sample.workspace.attempt(sample.id, 0, 0)
        folder.parent.mkdir(parents=True)
        folder.write_text("no folder")
        self.refused(sample)

    def test_a_pipe_that_nobody_writes_to(self, sample: Sample) -> None:
        file = write(sample, b"")
        file.unlink()
        os.mkfifo(file)
        self.refused(sample)

    def test_a_folder(self, sample: Sample) -> None:
        file = write(sample, b"")
        file.unlink()
        file.mkdir()
        self.refused(sample)

    def test_a_socket(self, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
        file = write(sample, b"")
        file.unlink()
        monkeypatch.chdir(file.parent)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(file.name)
            self.refused(sample)

    def test_no_descriptor_is_left_open(self, sample: Sample) -> None:
        file = write(sample, b"some")
        log = results_of(sample).log(None, 0, "stdout")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            log.tail(3)
        file.unlink()
        os.mkfifo(file)
        for _ in range(20):
            with pytest.raises(NotFoundError):
                log.read()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_trial_that_never_started_here_has_no_log(fresh: Sample) -> None:
    fresh.add(0)
    fresh.start(0)
    fresh.finish(0, TrialState.SUCCEEDED, 0.5)
    fresh.add(1)
    with pytest.raises(NotFoundError, match="has not started"):
        results_of(fresh).log(None, 1, "stderr")
