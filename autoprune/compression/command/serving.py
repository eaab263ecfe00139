"""What a child process is that does one task with torch: its streams, its end, and its errors as answers."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import IO, Any

from autoprune.compression.command.failing import Failure, said, show
from autoprune.errors import AutopruneError


def serve(tasks: Mapping[str, str]) -> None:
    """Do the task that the first argument names, by the function `run` of its module."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger("autoprune").addHandler(logging.NullHandler())  # what stays is in the answer
    requests, answers = _own_streams()
    request = json.loads(requests.readline())
    threading.Thread(target=_end_with, args=(requests,), daemon=True).start()
    try:
        answers.write(_as_json(_answer(tasks[sys.argv[1]], request)))
        answers.flush()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _answer(module: str, request: Any) -> dict[str, Any]:
    try:
        run: Callable[..., Any] = import_module(module).run
        return {"result": run(**request)}
    except AutopruneError as error:
        if isinstance(error, Failure):
            show(error)
        return {"error": str(error), "exit_code": error.exit_code}
    except Exception as error:
        show(error)
        return {"error": f"{type(error).__name__}: {error}", "exit_code": 1}


def _as_json(answer: Mapping[str, Any]) -> str:
    try:
        return json.dumps(answer, allow_nan=False)
    except (TypeError, ValueError) as error:
        return json.dumps({"error": f"the answer can not be passed on ({said(error)})", "exit_code": 1})


def _own_streams() -> tuple[IO[bytes], IO[str]]:
    """Requests and answers on descriptors that nobody else knows: what the user's code prints goes to stderr, and there
    is nothing for it to read."""
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


def _end_with(parent: IO[bytes]) -> None:
    """When the parent is gone, however it ended, its end of the pipe is closed."""
    while parent.read(1):
        pass
    os.killpg(0, signal.SIGKILL)
