"""What a trial and the manager agree on: environment variables, files, and one line per report.

A report is one JSON line, appended to `metrics.jsonl` by a single write to a file opened for appending, so that no
kill can tear it. The manager knows a report by its line. JSON has no NaN: a number that is not finite is null.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autoprune.errors import TrialError
from autoprune.records import JSON, Metric, timestamp

EXPERIMENT_VARIABLE = "AUTOPRUNE_EXPERIMENT_ID"
TRIAL_VARIABLE = "AUTOPRUNE_TRIAL_ID"
SEQUENCE_VARIABLE = "AUTOPRUNE_SEQUENCE_ID"
ATTEMPT_VARIABLE = "AUTOPRUNE_ATTEMPT_DIR"
OUTPUT_VARIABLE = "AUTOPRUNE_OUTPUT_DIR"
SPACE_VARIABLE = "AUTOPRUNE_SEARCH_SPACE"
KEEP_VARIABLE = "AUTOPRUNE_KEEP"
"""Set for a trial of a task whose weights are to be kept."""
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"

PARAMETERS = "parameters.json"
METRICS = "metrics.jsonl"
STDOUT = "stdout"
STDERR = "stderr"
EXIT = "exit.json"

DEFAULT = "default"

REPORT = "report.html"
"""What the manager puts beside a model that a search has made."""


def normalise(result: object) -> dict[str, JSON]:
    """A report as a dict with a number under `default`; scalars of numpy and torch become plain numbers."""
    values = {str(key): _unwrap(value) for key, value in result.items()} if isinstance(result, Mapping) else None
    if values is None:
        values = {DEFAULT: _unwrap(result)}
    if DEFAULT not in values:
        raise TrialError(
            f"given a report with the keys {sorted(values)}; expected one with {DEFAULT!r}, the number to optimise"
        )
    if isinstance(values[DEFAULT], bool) or not isinstance(values[DEFAULT], int | float):
        raise TrialError(f"given {result!r} as a result; expected a number, or a dict whose {DEFAULT!r} is one")
    return values


def _unwrap(value: object) -> JSON:
    """A 0-d array or tensor's number; anything else must be JSON as it is."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if hasattr(value, "item"):
        try:
            return _unwrap(value.item())
        except (ValueError, RuntimeError):
            raise TrialError(f"given {value!r} in a report; expected a single number") from None
    if isinstance(value, Mapping):
        return {str(key): _unwrap(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unwrap(item) for item in value]
    raise TrialError(f"given {value!r} ({type(value).__name__}) in a report; expected numbers, strings, lists or dicts")


def append_report(folder: Path, seq: int, values: Mapping[str, JSON], *, final: bool) -> None:
    """One report, in one write; a final one is on the disk before this returns."""
    report = {"seq": seq, "final": final, "values": _encode(values), "time": timestamp(time.time())}
    line = json.dumps(report, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    descriptor = os.open(folder / METRICS, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.write(descriptor, line) != len(line):
            raise TrialError(f"only a part of the report could be written to {folder / METRICS}: is the disk full?")
        if final:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(value: JSON) -> JSON:
    """The value as JSON has it: null for what is not finite or too large for a float, no half characters."""
    match value:
        case bool() | None:
            return value
        case int() | float():
            return value if _is_finite(value) else None
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case Mapping():
            return {_encode(key): _encode(item) for key, item in value.items()}
        case _:
            return [_encode(item) for item in value]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


@dataclass
class ReportReader:
    """Reads an attempt's reports as they come; a line still without its end waits for the next call.

    Lines that are not reports are counted as lines and kept in `broken`.
    """

    folder: Path
    attempt: int
    line: int = 0
    offset: int = 0
    broken: list[str] = field(default_factory=list)

    def read(self) -> list[Metric]:
        """The reports since the last call."""
        try:
            with (self.folder / METRICS).open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        reports = []
        for line in whole.splitlines():
            try:
                reports.append(self._metric(json.loads(line)))
            except (ValueError, KeyError, TypeError, RecursionError):
                self.broken.append(line[:200].decode(errors="replace"))
            self.line += 1
        return reports

    def _metric(self, report: JSON) -> Metric:
        values = _encode(report["values"])
        number = values[DEFAULT]
        return Metric(
            attempt=self.attempt,
            seq=self.line,
            final=bool(report["final"]),
            value=None if number is None else float(number),
            values=values,
            time=str(report["time"]),
        )
