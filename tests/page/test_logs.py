"""What trials write, as the page shows it."""

from __future__ import annotations

import html
import shutil
from pathlib import Path

import pytest
from asgi_client import Client
from sample_workspace import Sample

from autoprune.records import TrialState
from autoprune.store import trials

EXPERIMENT = "/experiments/digits-300131-abcd"


@pytest.fixture
def attempt(sample: Sample) -> Path:
    """The folder of the trial that runs."""
    folder = sample.workspace.attempt(sample.id, 7, 0)
    folder.mkdir(parents=True)
    return folder


def test_a_log_comes_in_ranges_without_half_characters(reader: Client, attempt: Path) -> None:
    (attempt / "stdout").write_bytes("ä".encode() * 40_000 + "ö".encode()[:1])
    part = reader.get(f"{EXPERIMENT}/trials/7/logs/stdout.json").json()
    assert (part["start"], part["end"], part["size"]) == (0, 65536, 80001)
    rest = reader.get(f"{EXPERIMENT}/trials/7/logs/stdout.json?start=65536").json()
    assert part["text"] + rest["line"] == "ä" * 40_000
    assert (part["line"], rest["text"]) == ("", "")
    assert rest["end"] == 80_000, "the half comes with the rest of it"
    page = reader.get(f"{EXPERIMENT}/trials/7/logs/stdout").text
    assert "start=65536" in page
    page = reader.get(f"{EXPERIMENT}/trials/7").text
    assert f"{EXPERIMENT}/trials/7/logs/stdout?start=0" in page
    assert 'The last <span class="number">65.5 kB</span> of <span class="number">80.0 kB</span>.' in page


def test_an_unreadable_log_hides_nothing_else(reader: Client, attempt: Path) -> None:
    (attempt / "stdout").symlink_to("/etc/passwd")
    (attempt / "stderr").write_text("said aloud")
    answer = reader.get(f"{EXPERIMENT}/trials/7")
    assert answer.status_code == 200
    assert "is not a plain file" in answer.text
    assert "said aloud" in answer.text
    assert "<h1>Trial 7</h1>" in answer.text
    assert "root:" not in answer.text


def test_a_log_reads_as_on_a_terminal(reader: Client, attempt: Path) -> None:
    log = attempt / "stdout"
    log.write_bytes(b"first\r\n\x1b[32mgood\x1b[0m \xe2\x80\xaeexe.txt\x07\n 1%|\r 2%|#\r 3%|##\r")
    part = reader.get(f"{EXPERIMENT}/trials/7/logs/stdout.json").json()
    assert part["text"] == "first\ngood <U+202E>exe.txt\u2407\n"
    assert part["line"] == " 3%|##"
    page = reader.get(f"{EXPERIMENT}/trials/7").text
    assert f"{html.escape(part['text'])}<span> 3%|##</span></pre>" in page
    with log.open("ab") as file:
        file.write(b" 4%|###\ndone")
    part = reader.get(f"{EXPERIMENT}/trials/7/logs/stdout.json?start={part['resume']}").json()
    assert (part["text"], part["line"]) == (" 4%|###\n", "done")


def test_a_progress_bar_longer_than_a_range_is_followed_to_its_end(reader: Client, attempt: Path) -> None:
    (attempt / "stdout").write_text("".join(f"\r{number:9}" for number in range(20_000)) + "\nend")
    text, start = "", -1
    part = {"resume": 0}
    while part["resume"] > start:
        start = part["resume"]
        part = reader.get(f"{EXPERIMENT}/trials/7/logs/stdout.json?start={start}").json()
        text += part["text"]
    assert (text.strip(), part["line"]) == ("19999", "end")


def test_half_a_character_at_the_end_is_seen_once_the_trial_is_over(
    reader: Client, sample: Sample, attempt: Path
) -> None:
    log = attempt / "stdout"
    log.write_bytes("fünf\nsechs ä".encode()[:-1])
    address = f"{EXPERIMENT}/trials/7/logs/stdout"
    part = reader.get(f"{address}.json").json()
    assert (part["text"], part["line"], part["end"], part["over"]) == ("fünf\n", "sechs ", 12, False)
    sample.finish(7, TrialState.FAILED)
    more = reader.get(f"{address}.json?start={part['resume']}").json()
    assert (more["text"], more["line"], more["end"], more["over"]) == ("", "sechs \ufffd", 13, True)
    for page in (reader.get(f"{EXPERIMENT}/trials/7").text, reader.get(address).text):
        assert page.count("\ufffd") == 1
    assert 'rel="next"' not in reader.get(address).text


def test_the_end_of_a_long_log_begins_with_a_whole_character(reader: Client, attempt: Path) -> None:
    for letter in ("€", "😀"):
        (attempt / "stdout").write_text(letter * 70_000 + "x", encoding="utf-8")
        page = reader.get(f"{EXPERIMENT}/trials/7").text
        assert f">{letter}" in page
        assert "\ufffd" not in page
        earlier = reader.get(f"{EXPERIMENT}/trials/7/logs/stdout?start=70001").text
        assert "\ufffd" not in earlier


def test_a_log_that_was_removed_is_not_called_empty(reader: Client, sample: Sample, attempt: Path) -> None:
    trial = f"{EXPERIMENT}/trials/7"
    waiting = reader.get(trial).text
    assert waiting.count('<pre class="log"') == 2
    assert "Nothing yet." in reader.get(f"{trial}/logs/stdout").text
    for stream in ("stdout", "stderr"):
        (attempt / stream).touch()
    with sample.store.write() as tx:
        trials.set_process(tx, sample.id, 7, 0, 4711, 1.5)
    sample.finish(7, TrialState.FAILED)
    assert "Nothing was written here." in reader.get(f"{trial}/logs/stdout").text
    shutil.rmtree(attempt.parents[1])
    page = reader.get(trial)
    assert page.status_code == 200
    for stream in ("stdout", "stderr"):
        assert f"the {stream} of attempt 0 of trial 7 of {sample.id} is gone" in page.text
    assert '<pre class="log' not in page.text
    answer = reader.get(f"{trial}/logs/stdout")
    assert answer.status_code == 404
    assert "is gone: its file was removed" in answer.text
    assert "has not started here" in reader.get(f"{EXPERIMENT}/trials/8").text
