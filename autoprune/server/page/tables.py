"""The columns that a table of trials can have, and the cells in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, zip_longest

from autoprune.labels import TASK_NUMBERS
from autoprune.protocol import DEFAULT
from autoprune.records import JSON
from autoprune.results.export import leaves
from autoprune.results.models import ExperimentDetail, Trial
from autoprune.results.ordering import METRIC
from autoprune.server.page.formats import brief, figure, last

PARAMETER = "param:"
LAYERS = "layers"
_UNASKED = 3
"""Columns of a kind, at the most, that are shown where nobody has chosen."""
_ROOM, _BESIDE, _CUT = 66, 4, 16
"""In letters: what the window has room for, what a column takes beside its letters, and how many of them it shows."""
_MOST = 300


def parameters(trial: Trial) -> dict[str, JSON]:
    """What the trial ran with, by path."""
    return dict(leaves(trial.parameters))


def scalars(metrics: Mapping[str, JSON]) -> dict[str, JSON]:
    """What a trial reported beside its value, by path; its layers are told elsewhere."""
    others = {name: value for name, value in metrics.items() if name not in (DEFAULT, LAYERS)}
    return dict(leaves(others))


def in_words(experiment: ExperimentDetail) -> Mapping[str, str]:
    """What the numbers are called that trials of a task report; a script's have the names that it gives them."""
    return TASK_NUMBERS if experiment.config.get("task") else {}


def cells(trial: Trial) -> dict[str, JSON]:
    """All that the columns of a trial can show."""
    return {
        **{f"{PARAMETER}{path}": value for path, value in parameters(trial).items()},
        **{f"{METRIC}{path}": value for path, value in scalars(trial.metrics).items()},
    }


def columns(rows: Iterable[Mapping[str, JSON]]) -> list[str]:
    """The columns that any of the rows has, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row))[:_MOST]


def unasked(rows: Sequence[Mapping[str, JSON]]) -> list[str]:
    """The columns that are shown where nobody has chosen: the first that tell trials apart, as many as fit."""
    available = columns(rows)
    telling = [name for name in available if len({figure(row[name]) for row in rows if name in row}) > 1] or available
    kinds = [[name for name in telling if name.startswith(kind)][:_UNASKED] for kind in (PARAMETER, METRIC)]
    by_turns = [name for turn in zip_longest(*kinds) for name in turn if name is not None]
    ends = accumulate(_width(name, rows) for name in by_turns)
    fitting = [name for name, end in zip(by_turns, ends, strict=True) if end <= _ROOM]
    return sorted(fitting, key=lambda name: name.startswith(PARAMETER))


def _width(column: str, rows: Sequence[Mapping[str, JSON]]) -> int:
    shown = [brief(row[column]) for row in rows if column in row]
    return min(_CUT, max(map(len, [heading(column), *shown]))) + _BESIDE


def heading(column: str) -> str:
    """What a column is called in its heading; its whole path is long."""
    return last(column.partition(":")[2])
