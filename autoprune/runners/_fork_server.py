"""The fork server: a process that has imported the libraries of a script, and forks once for every trial.

    python -c "..." SOCKET     with the names of the libraries as JSON in the first message

It answers `{"ready": ..., "modules": [...], "threads": n}`. Then each message carries four descriptors (a request in
JSON, the trial's standard output, its standard error, and a pipe that the child holds until /proc shows it as the
trial's) and is answered by `{"started": pid}`, and in time by `{"ended": pid, "status": ...}`. The server ends when
its socket does; its trials do not.

It stays at one thread and never computes anything: a library that has once run on several threads hangs in the
children of a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
import weakref
from typing import Any

from autoprune.runners import _fork_child

REQUEST_DESCRIPTORS = 4


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    names = json.loads(connection.recv(1 << 16))
    marker = _fork_child.find_marker()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _send(connection, {"ready": True, **_preload(names)})
        _serve(connection, marker)
    os._exit(0)


def _preload(names: list[str]) -> dict[str, Any]:
    """Import what there is. Of the rest each trial will hear itself."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    gc.collect()
    gc.freeze()
    loaded = sorted({name.split(".")[0] for name in sys.modules} - set(sys.builtin_module_names))
    return {"modules": loaded, "threads": len(os.listdir("/proc/self/task"))}  # noqa: PTH208


def _serve(connection: socket.socket, marker: _fork_child.Marker) -> None:
    """Fork and reap until nobody is at the other end."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        inherited = [connection.fileno(), wake, woken, selector.fileno()]
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wake in ready:
                os.read(wake, 4096)
                _reap(connection)
            if connection.fileno() in ready:
                _, descriptors, _, _ = socket.recv_fds(connection, 16, REQUEST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
                if len(descriptors) != REQUEST_DESCRIPTORS:
                    return
                _fork(connection, marker, descriptors, inherited)


def _fork(connection: socket.socket, marker: _fork_child.Marker, descriptors: list[int], inherited: list[int]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            _fork_child.become(marker, descriptors, inherited)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    for descriptor in descriptors:
        os.close(descriptor)
    _send(connection, {"started": pid})


def _reap(connection: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            _send(connection, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message).encode())
