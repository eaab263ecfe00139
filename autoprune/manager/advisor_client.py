"""The manager's end of the advisor process: requests, answers, and what to do when it dies, hangs or raises.

A process that fails is replaced by a new one, which is told the history from the store and asked again. An `ask`
that has failed three times is answered with the error. A `judge` that fails is answered with "go on": an assessor
must not cost a trial.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autoprune.errors import TunerError, UsageError
from autoprune.manager.advisor import Message
from autoprune.records import Proposal, Verdict

FAILURES = 3


@dataclass(frozen=True)
class Proposed:
    """The answer to `ask`; no proposal means that the search is exhausted."""

    number: int
    proposal: Proposal | None


@dataclass(frozen=True)
class Judged:
    """The answer to `judge`."""

    number: int
    verdict: Verdict


@dataclass(frozen=True)
class Failed:
    """Something went wrong with the advisor, and was dealt with; `asked_again` where a new process was asked."""

    cause: str
    asked_again: bool = False


Answer = Proposed | Judged | Failed


@dataclass
class _Request:
    message: Message
    deadline: float
    failures: int = 0


def _is(request: _Request, kind: str) -> bool:
    return bool(request.message["do"] == kind)


class AdvisorClient:
    """One advisor process, replaced when it fails. `history` gives the messages that rebuild what it knew."""

    def __init__(self, start: Message, history: Callable[[], Iterable[Message]], log: Path, timeout: float) -> None:
        self._start = start
        self._history = history
        self._log = log
        self._timeout = timeout
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self._process = _Process(log)
        self._request(start)
        self._replay()

    def tell(self, message: Message) -> None:
        self._process.send(message)

    def ask(self, number: int) -> None:
        self._request({"do": "ask", "number": number})

    def judge(self, number: int) -> None:
        self._request({"do": "judge", "number": number})

    def rebuild(self) -> None:
        """A new process that knows what the store says now; questions that are not answered yet are forgotten."""
        self._requests = {id: request for id, request in self._requests.items() if _is(request, "start")}
        self._replace()

    def descriptors(self) -> list[int]:
        """To wait on while an answer is due."""
        return [self._process.output] if self._requests else []

    def answers(self) -> list[Answer]:
        """What has been answered since the last call. Raises TunerError when the tuner fails for good."""
        found: list[Answer] = []
        for reply in self._process.receive():
            found += self._accept(reply)
        cause = self._process.ended() or self._overdue()
        if cause and self._requests:
            found += self._fail(min(self._requests), cause)
        return found

    def close(self) -> None:
        self._process.close()

    def _request(self, message: Message, failures: int = 0) -> None:
        self._last_id += 1
        message = {**message, "id": self._last_id}
        self._requests[self._last_id] = _Request(message, time.monotonic() + self._timeout, failures)
        self._process.send(message)

    def _accept(self, reply: Message) -> list[Answer]:
        request = self._requests.get(reply["id"])
        if request is None:
            return []
        number = request.message.get("number", 0)
        if "error" in reply and not _is(request, "judge"):
            return self._fail(reply["id"], reply["error"], usage=reply["usage"])
        del self._requests[reply["id"]]
        if "error" in reply:
            return [Failed(f"the assessor failed: {reply['error']}"), Judged(number, Verdict())]
        match request.message["do"]:
            case "ask":
                proposal = reply["proposal"]
                return [Proposed(number, Proposal(**proposal) if proposal is not None else None)]
            case "judge":
                return [Judged(number, Verdict(reply["stop"], reply["reason"]))]
            case _:
                return []

    def _fail(self, id: int, cause: str, *, usage: bool = False) -> list[Answer]:
        """A request failed: replace the process, and ask again what is still worth asking."""
        request = self._requests[id]
        request.failures += 1
        kind = request.message["do"]
        if usage and kind == "start":
            raise UsageError(cause)
        if kind != "judge" and request.failures >= FAILURES:
            self._requests.clear()
            raise TunerError(f"the tuner failed {FAILURES} times: {cause} (its output is in {self._log})")
        who = "assessor" if kind == "judge" else "tuner"
        return [Failed(f"the {who} failed: {cause}", asked_again=True), *self._replace()]

    def _replace(self) -> list[Answer]:
        """A new process that knows what the old one knew. Questions about running trials are answered "go on"."""
        self._process.close()
        pending, self._requests = list(self._requests.values()), {}
        self._process = _Process(self._log)
        self._request(self._start, failures=max((old.failures for old in pending if _is(old, "start")), default=0))
        self._replay()
        for old in pending:
            if _is(old, "ask"):
                self._request(old.message, failures=old.failures)
        return [Judged(old.message["number"], Verdict()) for old in pending if _is(old, "judge")]

    def _replay(self) -> None:
        for message in self._history():
            self._process.send(message)

    def _overdue(self) -> str:
        late = any(request.deadline < time.monotonic() for request in self._requests.values())
        return f"no answer within {self._timeout:g} seconds" if late else ""


class _Process:
    """The process and its pipes. Writing happens on a thread: a process that hangs must not hold up its writer."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as stderr:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "autoprune.manager.advisor_child", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self.output = self._popen.stdout.fileno()
        os.set_blocking(self.output, False)
        self._rest = b""
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=_write, args=(self._outbox, self._popen.stdin), daemon=True)
        self._writer.start()

    def send(self, message: Message) -> None:
        self._outbox.put(message)

    def receive(self) -> list[Message]:
        """The answers that have come in whole."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.output, 1 << 20):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def ended(self) -> str:
        """How the process ended; empty while it runs."""
        code = self._popen.poll()
        if code is None:
            return ""
        return f"its process ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"

    def close(self) -> None:
        self._popen.kill()
        self._popen.wait()
        self._outbox.put(None)
        self._writer.join()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _write(outbox: queue.SimpleQueue[Message | None], pipe: IO[bytes]) -> None:
    """Write messages until None or the reader is gone."""
    with contextlib.suppress(OSError):
        while (message := outbox.get()) is not None:
            pipe.write(json.dumps(message, allow_nan=False).encode() + b"\n")
            if outbox.empty():
                pipe.flush()
