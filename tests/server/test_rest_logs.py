"""Logs over HTTP: text, its beginning or its tail, and ranges of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from asgi_client import Client
from sample_workspace import Sample

from autoprune.results.logs import MOST

LOG = "/api/v1/experiments/digits/trials/0/logs/stdout"
TEXT = "one\ntwo\nthré\n".encode()


@pytest.fixture
def file(sample: Sample) -> Path:
    """What trial 0 wrote."""
    file = sample.workspace.attempt(sample.id, 0, 0) / "stdout"
    file.parent.mkdir(parents=True)
    file.write_bytes(TEXT)
    return file


def told(headers: object) -> list[int]:
    return [int(headers[f"log-{name}"]) for name in ("attempt", "start", "end", "size")]


def test_a_whole_log(client: Client, file: Path) -> None:
    answer = client.get(LOG)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == TEXT
    assert told(answer.headers) == [0, 0, len(TEXT), len(TEXT)]


def test_what_is_no_text_is_replaced(client: Client, file: Path) -> None:
    file.write_bytes(b"a\xff<script>\x1b[31m\0")
    answer = client.get(LOG)
    assert answer.content.decode() == "a\ufffd<script>\x1b[31m\0"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_of_a_long_log_the_beginning_and_then_ranges(client: Client, file: Path) -> None:
    text = "é" * MOST
    file.write_text(f"x{text}")
    first = client.get(LOG)
    assert first.text == f"x{text[: MOST // 2 - 1]}"
    read, end = first.content, int(first.headers["log-end"])
    assert end == len(read)
    while end < int(first.headers["log-size"]):
        more = client.get(LOG, headers={"Range": f"bytes={end}-"})
        assert more.status_code == 206
        assert len(more.content) <= MOST
        read, end = read + more.content, int(more.headers["log-end"])
    assert read.decode() == f"x{text}"
    assert client.get(LOG, headers={"Range": f"bytes={end}-"}).status_code == 416


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-", slice(0, None)),
        ("bytes=0-0", slice(0, 1)),
        ("bytes=4-6", slice(4, 7)),
        ("bytes=11-11", slice(11, 12)),
        ("bytes=4-999999999999999999", slice(4, None)),
        ("bytes=-3", slice(-3, None)),
        ("bytes=-100", slice(0, None)),
    ],
)
def test_ranges_are_bytes_as_they_are(client: Client, file: Path, asked: str, part: slice) -> None:
    answer = client.get(LOG, headers={"Range": asked})
    start, end, _ = part.indices(len(TEXT))
    assert answer.status_code == 206
    assert answer.content == TEXT[part]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(TEXT)}"
    assert answer.headers["content-length"] == str(end - start)
    assert told(answer.headers) == [0, start, end, len(TEXT)]


@pytest.mark.parametrize("asked", [f"bytes={len(TEXT)}-", "bytes=999-1000", "bytes=-0"])
def test_a_range_behind_the_end(client: Client, file: Path, asked: str) -> None:
    answer = client.get(LOG, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-range"] == f"bytes */{len(TEXT)}"
    assert f"{len(TEXT)} bytes" in answer.json()["detail"]


@pytest.mark.parametrize(
    "asked",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=5-3", "bytes=-" + "9" * 40],
)
def test_a_range_of_another_form_is_ignored(client: Client, file: Path, asked: str) -> None:
    answer = client.get(LOG, headers={"Range": asked})
    assert answer.status_code == 200
    assert answer.content == TEXT


@pytest.mark.parametrize(("lines", "text"), [(1, "thré\n"), (2, "two\nthré\n"), (9, TEXT.decode())])
def test_the_tail(client: Client, file: Path, lines: int, text: str) -> None:
    answer = client.get(LOG, params={"tail": lines})
    assert answer.text == text
    assert told(answer.headers) == [0, len(TEXT) - len(text.encode()), len(TEXT), len(TEXT)]


def test_a_range_beside_a_tail_is_ignored(client: Client, file: Path) -> None:
    answer = client.get(LOG, params={"tail": 1}, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.text) == (200, "thré\n")


def test_the_last_attempt_unless_another_is_asked_for(client: Client, sample: Sample) -> None:
    for attempt in (0, 1):
        file = sample.workspace.attempt(sample.id, 3, attempt) / "stderr"
        file.parent.mkdir(parents=True)
        file.write_text(f"attempt {attempt}")
    address = "/api/v1/experiments/digits/trials/3/logs/stderr"
    assert client.get(address).text == "attempt 1"
    assert client.get(address, params={"attempt": 0}).text == "attempt 0"
    assert told(client.get(address).headers) == [1, 0, 9, 9]
    assert client.get(address.replace("stderr", "stdout")).content == b""


def test_a_link_is_not_followed_and_not_told(client: Client, sample: Sample, file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    file.unlink()
    file.symlink_to(secret)
    answer = client.get(LOG)
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert str(tmp_path) not in answer.text
