"""Trials beside each other: what they ran with and what came of it, with the differences marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fastapi import APIRouter, Request, Response

from autoprune.records import JSON
from autoprune.results.layers import proportions
from autoprune.results.models import LayerResult, TrialDetail
from autoprune.results.shapes import came_from
from autoprune.server.api.common import Id, Source
from autoprune.server.page import formats, tables
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.figures import Numbers
from autoprune.server.page.rendering import render
from autoprune.server.page.trial import may_have_curve
from autoprune.server.page.trials import Choice, listing

MOST = 8

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Row:
    """One thing of all the trials; `differs` where they do not have it alike."""

    name: str
    values: Sequence[JSON]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


@router.get("/experiments/{id}/compare")
def compare_page(request: Request, results: Source, id: Id, trial: Numbers) -> Response:
    numbers = list(dict.fromkeys(trial))
    if not 2 <= len(numbers) <= MOST:
        problem = f"given {len(numbers)} trials to compare; expected 2 to {MOST}: tick them, and compare again"
        return listing(request, results, id, Choice(), problem=problem, ticked=numbers)
    experiment = results.experiment(id)
    trials = [results.trial(experiment.id, number) for number in numbers]
    tails = results.tails(experiment.id, numbers, 2)
    return render(
        request,
        "compare.html",
        tab="Trials",
        experiment=experiment,
        trials=trials,
        outcomes=_outcomes(trials),
        parameters=_rows([tables.parameters(each) for each in trials]),
        proportions=proportions(results.facts(experiment.id)),
        reported=_rows([tables.scalars(each.metrics) for each in trials], tables.in_words(experiment)),
        have_curves=any(may_have_curve(each, tails.get(each.number)) for each in trials),
        layers=_rows([_layers(each) for each in trials]),
        command="",
    )


def _outcomes(trials: Sequence[TrialDetail]) -> list[Row]:
    return [
        Row("State", [trial.state for trial in trials]),
        Row("Value", [trial.value for trial in trials]),
        Row("From", [came_from(trial) or "the tuner" for trial in trials]),
        Row("Duration", [formats.duration(trial.duration) for trial in trials]),
    ]


def _rows(sides: Sequence[Mapping[str, JSON]], names: Mapping[str, str] = MappingProxyType({})) -> list[Row]:
    return [Row(names.get(name, name), [side.get(name) for side in sides]) for name in tables.columns(sides)]


def _layers(trial: TrialDetail) -> dict[str, LayerResult]:
    return {layer.layer: layer for layer in trial.layers or []}
