"""The columns that a table of trials can have, and the cells in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autoprune.protocol import DEFAULT
from autoprune.records import JSON
from autoprune.results.export import leaves
from autoprune.results.models import Trial
from autoprune.results.ordering import METRIC
from autoprune.server.page.formats import last

PARAMETER = "param:"
LAYERS = "layers"
_SHOWN_UNASKED = {PARAMETER: 3, METRIC: 3}
_MOST = 300


def parameters(trial: Trial) -> dict[str, JSON]:
    """What the trial ran with, by path."""
    return dict(leaves(trial.parameters))


def scalars(metrics: Mapping[str, JSON]) -> dict[str, JSON]:
    """What a trial reported beside its value, by path; its layers are told elsewhere."""
    others = {name: value for name, value in metrics.items() if name not in (DEFAULT, LAYERS)}
    return dict(leaves(others))


def cells(trial: Trial) -> dict[str, JSON]:
    """All that the columns of a trial can show."""
    return {
        **{f"{PARAMETER}{path}": value for path, value in parameters(trial).items()},
        **{f"{METRIC}{path}": value for path, value in scalars(trial.metrics).items()},
    }


def columns(rows: Iterable[Mapping[str, JSON]]) -> list[str]:
    """The columns that any of the rows has, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row))[:_MOST]


def unasked(available: Sequence[str]) -> list[str]:
    """The columns that are shown where nobody has chosen: the first numbers reported, then the first parameters."""
    return [
        name
        for prefix in (METRIC, PARAMETER)
        for name in [each for each in available if each.startswith(prefix)][: _SHOWN_UNASKED[prefix]]
    ]


def heading(column: str) -> str:
    """What a column is called in its heading; its whole path is long."""
    return last(column.partition(":")[2])
