"""What has been computed, in a file of JSON lines: a run that was killed goes on, and nothing is trained twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Memo:
    """Answers to questions. Processes share the file: each line is appended by one write, and read by the others.

    An answer is a function of its question alone; where the code that answers has changed, begin a new file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._answers: dict[str, Any] = {}

    def answer(self, question: Mapping[str, Any], find: Callable[[], Any]) -> Any:
        """The answer to a question, from the file, or else found and written down."""
        key = json.dumps(question, sort_keys=True)
        self._catch_up()
        if key not in self._answers:
            self._append({"question": question, "answer": find()})
            self._catch_up()
        return self._answers[key]

    def _catch_up(self) -> None:
        """Read the lines that are new. One that has no end is still being written, or its writer was killed."""
        if not self._file.exists():
            return
        with self._file.open("rb") as lines:
            lines.seek(self._read)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                if line.strip():
                    entry = json.loads(line)
                    self._answers.setdefault(json.dumps(entry["question"], sort_keys=True), entry["answer"])

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, json.dumps(entry).encode() + b"\n")
        finally:
            os.close(descriptor)
