"""What trials wrote, read in pieces, and nothing else of the disk.

A log is named by an experiment's id, a trial's number and an attempt, never by a path. Each folder on the way to it is
opened from the one before, and no link is followed: what trials leave behind is not trusted. Only plain files are read.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from autoprune.errors import NotFoundError

Stream: TypeAlias = Literal["stdout", "stderr"]

MOST = 1 << 20
"""How many bytes are read at once, at the most."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class Piece:
    """The bytes of a log from `start` to before `end`, when it had `size` in all."""

    start: int
    end: int
    size: int
    data: bytes

    @property
    def text(self) -> str:
        """As text; what is not UTF-8 is replaced."""
        return self.data.decode(errors="replace")

    def whole(self) -> Piece:
        """Without the first bytes of a character whose others are to come; of nothing but these, as it is."""
        halved = _halved(self.data)
        if not 0 < halved < len(self.data):
            return self
        return Piece(self.start, self.end - halved, self.size, self.data[:-halved])


@dataclass(frozen=True)
class Log:
    """What one attempt of a trial wrote to one stream. It may grow; each reading sees the size of that moment."""

    folder: Path
    """The experiment's."""
    number: int
    attempt: int
    stream: Stream
    began: bool = False
    """Whether its process was started, before which the file is made: where there is none, it was removed."""
    over: bool = False
    """Whether the attempt has ended, so that no more will come."""

    @property
    def size(self) -> int:
        with self._opened() as file:
            return 0 if file is None else os.fstat(file).st_size

    def read(self, start: int = 0, end: int | None = None) -> Piece:
        """From `start` to before `end`, or to the end of the file; no more than MOST bytes."""
        with self._opened() as file:
            size = 0 if file is None else os.fstat(file).st_size
            start = min(start, size)
            wanted = min(size if end is None else max(min(end, size), start), start + MOST)
            data = b"" if file is None else os.pread(file, wanted - start, start)
        return Piece(start, start + len(data), size, data)

    def whole(self, piece: Piece) -> Piece:
        """A piece of it without half a character at its end, unless that is all that ever comes of it."""
        return piece if self.over and piece.end == piece.size else piece.whole()

    def boundary(self, start: int) -> int:
        """Where the character begins that `start` is in the middle of; else the same place."""
        before = self.read(max(0, start - 3), start).data
        halved = _halved(before)
        if not halved:
            return start
        whole = before[-halved:] + self.read(start, start + 4 - halved).data
        return start if whole.decode(errors="replace").startswith("\ufffd") else start - halved

    def last(self, count: int) -> Piece:
        """The last so many bytes, no more than MOST."""
        size = self.size
        return self.read(size - min(count, size, MOST), size)

    def tail(self, lines: int) -> Piece:
        """The last so many lines, as far as they are within the last MOST bytes."""
        piece = self.last(MOST)
        at = len(piece.data)
        for _ in range(lines + piece.data.endswith(b"\n")):
            at = piece.data.rfind(b"\n", 0, at)
            if at < 0:
                return piece
        data = piece.data[at + 1 :]
        return Piece(piece.end - len(data), piece.end, piece.size, data)

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """The file's descriptor; None where the file has not been made yet."""
        way = [self.folder.name, "trials", str(self.number), "attempts", str(self.attempt)]
        try:
            file = _open(self.folder.parent, way, self.stream)
        except FileNotFoundError:
            if self.began:
                raise NotFoundError(f"{self._name} is gone: its file was removed") from None
            yield None
            return
        except OSError:
            raise self._refused() from None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise self._refused()
            yield file
        finally:
            os.close(file)

    def _refused(self) -> NotFoundError:
        return NotFoundError(
            f"{self._name} is not a plain file in the trial's folder, or cannot be read, so it is not shown"
        )

    @property
    def _name(self) -> str:
        return f"the {self.stream} of attempt {self.attempt} of trial {self.number} of {self.folder.name}"


def _halved(data: bytes) -> int:
    """How many bytes at the end are the first of a character that is not whole."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-4:])
    return len(decoder.getstate()[0])


def _open(root: Path, way: Sequence[str], name: str) -> int:
    """A file, each folder on the way to which is opened from the one before."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in way:
            inner = os.open(step, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(name, _FILE, dir_fd=folder)
    finally:
        os.close(folder)
