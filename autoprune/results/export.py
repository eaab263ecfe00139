"""Whole experiments as files: CSV for spreadsheets and data frames, JSON with everything, for `import`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from sqlalchemy import Connection

from autoprune.records import JSON, Trial
from autoprune.results.models import ExportedTrial, clean
from autoprune.results.reader import Results
from autoprune.results.shapes import report_model, trial_model
from autoprune.store import experiments, listing, metrics

FORMAT = "autoprune-experiment"
VERSION = 1
_PAGE = 500
_ABOUT: Sequence[str] = ("origin", "repeat_of", "feasible")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_json(results: Results, id: str | None, file: TextIO) -> None:
    """`{"format", "version", "experiment", "items", "next"}`: the configuration, and all trials with all reports."""
    detail = results.experiment(id)
    header = {"format": FORMAT, "version": VERSION, "experiment": detail.model_dump(mode="json")}
    file.write(json.dumps(header, ensure_ascii=False, allow_nan=False)[:-1] + ', "items": [')
    separator = "\n"
    with results.store.read() as tx:
        for trial in _all(tx, detail.id):
            reports = [report_model(metric) for metric in metrics.of_trial(tx, detail.id, trial.number)]
            item = ExportedTrial(**dict(trial_model(trial)), created=trial.created, reports=reports)
            line = json.dumps(item.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
            file.write(separator + line)
            separator = ",\n"
    file.write('\n], "next": null}\n')


def write_csv(results: Results, id: str | None, file: TextIO) -> None:
    """A row per trial: `number,state,value,duration`, then `param.<path>` and `metric.<name>` of all trials.

    Between them are `origin`, `repeat_of` and `feasible`, each where any trial has something to say there.
    """
    with results.store.read() as tx:
        experiment = experiments.resolve(tx, id)
        about: set[str] = set()
        params: dict[str, None] = {}
        told: dict[str, None] = {}
        for trial in _all(tx, experiment):
            about |= whence(trial).keys()
            params |= dict.fromkeys(path for path, _ in _leaves("param", trial))
            told |= dict.fromkeys(path for path, _ in _leaves("metric", trial))
        columns = [*(name for name in _ABOUT if name in about), *params, *told]
        writer = csv.writer(_Lines(file), lineterminator="\r\n")
        writer.writerow([*("number", "state", "value", "duration"), *(_cell(column) for column in columns)])
        for trial in _all(tx, experiment):
            leaves = {**whence(trial), **dict(_leaves("param", trial)), **dict(_leaves("metric", trial))}
            row = [trial.number, trial.state.value, clean(trial.value), trial.duration]
            writer.writerow([_cell(cell) for cell in [*row, *(leaves.get(column) for column in columns)]])


class _Lines:
    """Ends lines with a line feed alone. A writer that does so itself would leave a carriage return inside a text
    without quotes, and what follows it would begin a cell."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def _all(tx: Connection, experiment: str) -> Iterator[Trial]:
    """Every trial in the order of numbers, some at a time."""
    after = None
    while found := listing.page(tx, experiment, limit=_PAGE, after=after):
        yield from (one.trial for one in found)
        after = found[-1].position


def whence(trial: Trial) -> dict[str, JSON]:
    """Where the trial comes from, unless its tuner proposed it, and whether it breaks a constraint."""
    told: dict[str, JSON] = {}
    if trial.origin:
        told["origin"] = trial.origin
    if trial.repeat_of is not None:
        told["repeat_of"] = trial.repeat_of
    return told if trial.feasible else {**told, "feasible": False}


def _leaves(prefix: str, trial: Trial) -> Iterator[tuple[str, JSON]]:
    """The columns of a trial's parameters (`param`) or metrics (`metric`)."""
    tree = trial.parameters if prefix == "param" else trial.metrics
    return ((f"{prefix}.{path}", value) for path, value in leaves(clean(tree)))


def leaves(tree: Mapping[str, JSON], above: str = "") -> Iterator[tuple[str, JSON]]:
    """Every value in nested tables with its path: keys joined by `/`, where `~0` is `~` and `~1` is `/`."""
    for key, value in tree.items():
        path = above + key.replace("~", "~0").replace("/", "~1")
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{path}/")
        else:
            yield path, value


def _cell(value: JSON) -> str:
    """A value as a spreadsheet may read it: numbers as numbers, and no text that it would run as a formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isprintable()
