"""What trials write, as the page shows it."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from asgi_client import Client
from sample_workspace import Sample

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
