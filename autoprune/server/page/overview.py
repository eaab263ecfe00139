"""The overview of an experiment: how far it is, the best trial, what runs, what went wrong, and what can be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from autoprune.records import TrialState
from autoprune.results import Results
from autoprune.results.models import Report, Trial
from autoprune.results.reader import Tail
from autoprune.results.shapes import came_from
from autoprune.server.api.common import Id, Source
from autoprune.server.page.answers import CommandId, told
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.progress import progress_of
from autoprune.server.page.rendering import render
from autoprune.server.page.tables import scalars

_RUNNING_SHOWN, _TROUBLES_SHOWN = 50, 5
_TROUBLES = (TrialState.FAILED, TrialState.INVALID)

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Running:
    """A trial that runs, how often it has reported, and what it said last."""

    trial: Trial
    reported: int
    last: Report | None


@router.get("/experiments/{id}")
def overview_page(request: Request, results: Source, id: Id, command: CommandId = None) -> Response:
    return overview(request, results, id, command)


def overview(
    request: Request,
    results: Results,
    id: str,
    command: int | None = None,
    *,
    problem: str = "",
    typed: Mapping[str, str] | None = None,
) -> Response:
    """The page; with a `problem`, it is the answer to limits that cannot be, which it shows as they were `typed`."""
    experiment = results.experiment(id)
    statistics = results.statistics(experiment.id)
    progress = progress_of(experiment)
    troubles = results.trials(experiment.id, states=_TROUBLES, sort="-started", limit=_TROUBLES_SHOWN)
    return render(
        request,
        "overview.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
        tab="Overview",
        experiment=experiment,
        progress=progress,
        pace=statistics.trials_per_hour,
        left=progress.left(statistics.trials_per_hour),
        best_numbers=scalars(experiment.best.metrics) if experiment.best else {},
        limits={name: _plain(value) for name, value in experiment.limits},
        problem=problem,
        typed=typed or {},
        came_from=came_from,
        running=_running(results, experiment.id),
        troubles=troubles.items,
        result=results.result(experiment.id),
        command=told(results, experiment.id, command),
    )


def _running(results: Results, id: str) -> list[Running]:
    found = results.trials(id, states=[TrialState.RUNNING], limit=_RUNNING_SHOWN).items
    tails = results.tails(id, [trial.number for trial in found], 1)
    return [_seen(trial, tails.get(trial.number)) for trial in found]


def _seen(trial: Trial, tail: Tail | None) -> Running:
    return Running(trial, 0, None) if tail is None else Running(trial, tail.count, tail.reports[-1])


def _plain(value: float | None) -> str:
    """A number as a field of a form has it; empty for no limit."""
    return "" if value is None else f"{value:.15g}"
