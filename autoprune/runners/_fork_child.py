"""What a forked process does to be the script it was forked for: nothing about it may tell it from a fresh interpreter.

It gets its own session, folder, environment, arguments, streams and random numbers; runs the script as `__main__`; and
leaves as an interpreter does: threads are waited for, `atexit` is run, files are flushed. What belongs to the libraries
that were imported before the fork is not torn down, since that takes longer than most of what a trial does by itself.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib.machinery
import io
import json
import os
import signal
import sys
import threading
import types
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import threadpoolctl

from autoprune.protocol import ATTEMPT_VARIABLE
from autoprune.records import Exit
from autoprune.runners.base import write_exit

PADDING = 4096
_ENVIRONMENT_START, _ENVIRONMENT_END = 47, 48
_FLUSH_FAILED = 120
_TORCH_READS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Marker:
    """Where the memory that /proc shows as this process's environment names the attempt.

    A process is known as a trial's by its environment, which /proc shows as it was at the last exec. The server was
    started with room for the name of a folder; each child writes its own there, and whatever it forks inherits it.
    """

    address: int
    size: int

    def write(self, folder: str) -> None:
        name = os.fsencode(folder)[: self.size]
        ctypes.memmove(self.address, name.ljust(self.size, b"\0"), self.size)


def find_marker() -> Marker:
    """In the server, whose environment has the variable with `PADDING` characters in it, as the last one."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ENVIRONMENT_START]), int(fields[_ENVIRONMENT_END])
    name = f"{ATTEMPT_VARIABLE}=".encode()
    place = ctypes.string_at(start, end - start).rindex(name + b"x" * PADDING)
    return Marker(start + place + len(name), PADDING)


def become(marker: Marker, descriptors: list[int], inherited: list[int]) -> NoReturn:
    """Run what the request says, and never return."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in inherited:
        os.close(descriptor)
    request_file, stdout, stderr, unmarked = descriptors
    with os.fdopen(request_file, "rb") as file:
        file.seek(0)
        request = json.load(file)
    for stream, target in ((stdout, 1), (stderr, 2)):
        os.dup2(stream, target)
        os.close(stream)
    attempt = request["environment"][ATTEMPT_VARIABLE]
    marker.write(attempt)
    os.close(unmarked)
    os.chdir(request["folder"])
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["unbuffered"]:
        sys.stdout, sys.stderr = _unbuffered(sys.stdout), _unbuffered(sys.stderr)
    sys.orig_argv = request["words"]
    sys.argv = request["argv"]
    folder = Path(request["file"]).resolve().parent
    if not sys.flags.safe_path:
        sys.path.insert(0, str(folder))
    _reseed()
    _limit_threads(before, os.environ)
    _forget_missing_folders()
    known = set(sys.modules)
    code = _run(request["file"])
    _leave(code, Path(attempt), [name for name in sys.modules if name not in known and _lies_in(name, folder)])


def _unbuffered(stream: Any) -> io.TextIOWrapper:
    raw = io.FileIO(stream.fileno(), "wb", closefd=False)
    raw.name = stream.name
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, write_through=True)


def _reseed() -> None:
    """Every child has inherited the same generators; `random` sees to itself."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def _limit_threads(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Where a trial's share is not what it was when the server read it; OpenBLAS was told to start no threads."""
    torch, share = sys.modules.get("torch"), _count(now, "MKL_NUM_THREADS") or _count(now, "OMP_NUM_THREADS")
    if torch is not None and share and any(before.get(name) != now.get(name) for name in _TORCH_READS):
        torch.set_num_threads(share)
    share = _count(now, "OPENBLAS_NUM_THREADS")
    if "numpy" in sys.modules and share > 1:
        threadpoolctl.threadpool_limits(share, user_api="blas")


def _count(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdecimal() else 0


def _forget_missing_folders() -> None:
    """A folder of the path that was not there when the server looked may be there now."""
    for path in [path for path, finder in sys.path_importer_cache.items() if finder is None]:
        del sys.path_importer_cache[path]


def _run(path: str) -> int:
    """The script as `__main__`; returns its exit code, negative for the signal that it ends by."""
    main = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    vars(main).update(__file__=path, __cached__=None, __loader__=loader, __builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main
    uncaught: BaseException | None = None
    try:
        exec(compile(Path(path).read_bytes(), path, "exec", dont_inherit=True), vars(main))
    except BaseException as error:
        uncaught = error
    match uncaught:
        case None:
            return 0
        case SystemExit(code=code):
            return _exit_code(code)
    _show(uncaught)
    return -signal.SIGINT if isinstance(uncaught, KeyboardInterrupt) else 1


def _exit_code(code: object) -> int:
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        print(code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """Through the script's `sys.excepthook`, as an interpreter does."""
    _drop_own_frame(error)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException as failure:
        _drop_own_frame(failure)
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(failure), failure, failure.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)


def _drop_own_frame(error: BaseException) -> None:
    """The outermost frame of the traceback is of this file."""
    own = error.__traceback__
    error.__traceback__ = own.tb_next if own is not None else None


def _leave(code: int, attempt: Path, modules: list[str]) -> NoReturn:
    """As an interpreter ends, but that of all modules only the script and its own ones are torn down."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _forget(["__main__", *modules])
    if not _flush():
        code = _FLUSH_FAILED
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if os.getpid() == os.getsid(0):
        write_exit(attempt, Exit(code))
    os._exit(code)


def _forget(modules: list[str]) -> None:
    """Let go of what modules hold, so that it is finished: `__del__` is called, and files are flushed, those that
    libraries hold as well. A module goes as a whole; one that something still refers to is emptied after the others."""
    left = [weakref.ref(sys.modules.pop(name)) for name in modules]
    gc.collect()
    for module in filter(None, (reference() for reference in left)):
        vars(module).clear()
    gc.collect()
    for file in gc.get_objects():
        if type(file) in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
            with contextlib.suppress(Exception):
                file.flush()


def _lies_in(name: str, folder: Path) -> bool:
    """Whether a module is of this folder, and not of a virtual environment that happens to be in it."""
    file = Path(getattr(sys.modules[name], "__file__", None) or "/")
    return file.is_relative_to(folder) and "site-packages" not in file.parts


def _flush() -> bool:
    """Both streams; whether nothing of standard output was lost, which is what an interpreter's exit code tells."""
    flushed = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:
            flushed = flushed and stream is sys.stderr
    return flushed
