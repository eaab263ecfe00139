"""Waking up when a file grows: inotify where there is one (Linux), otherwise nothing, and callers poll."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_IN_MODIFY = 0x2
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


class Watch:
    """A set of watched files behind one descriptor, which can be read when one of them has grown."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        self._watches: dict[Path, int] = {}
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            descriptor = self._libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
            self.descriptor = descriptor if descriptor >= 0 else None

    def add(self, file: Path) -> None:
        if self.descriptor is not None:
            watch = self._libc.inotify_add_watch(self.descriptor, os.fsencode(file), _IN_MODIFY)
            if watch >= 0:
                self._watches[file] = watch

    def remove(self, file: Path) -> None:
        if self.descriptor is not None and file in self._watches:
            self._libc.inotify_rm_watch(self.descriptor, self._watches.pop(file))

    def drain(self) -> None:
        """Forget what has happened so far."""
        if self.descriptor is not None:
            with contextlib.suppress(BlockingIOError):
                while os.read(self.descriptor, 65536):
                    pass

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
