"""The overview of an experiment: how far it is, the best trial, what runs, what went wrong, and what can be done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from autoprune.config.values import format_duration
from autoprune.labels import figure_name
from autoprune.protocol import REPORT
from autoprune.records import JSON, TrialState
from autoprune.results import Results
from autoprune.results.models import Experiment, Report, Trial
from autoprune.results.reader import Tail
from autoprune.results.shapes import came_from
from autoprune.server.api.common import Id, Source
from autoprune.server.commanding import LIMITS
from autoprune.server.page.answers import CommandId, told
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.progress import Progress, progress_of
from autoprune.server.page.rendering import render
from autoprune.server.page.tables import in_words, scalars

_RUNNING_SHOWN, _TROUBLES_SHOWN = 50, 5
_TROUBLES = (TrialState.FAILED, TrialState.INVALID)
_MORE_TRIALS = 10

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Running:
    """A trial that runs, from when on, how often it has reported, and what it said last."""

    trial: Trial
    since: str
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
    answer = told(results, experiment.id, command)
    if answer and answer.asked and answer.kind == "update":
        typed = {name: _typed(name, value) for name, value in answer.asked.items()}
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
        names=in_words(experiment),
        limits={name: _typed(name, value) for name, value in experiment.limits},
        more=_more(experiment, progress),
        problem=problem,
        typed=typed or {},
        came_from=came_from,
        running=_running(results, experiment.id),
        troubles=troubles.items,
        further_troubles=sum(experiment.trials.get(state, 0) for state in _TROUBLES) - len(troubles.items),
        result=results.result(experiment.id),
        best_folder=results.workspace.best(experiment.id),
        report=REPORT,
        figure_name=figure_name,
        command=answer,
    )


def _running(results: Results, id: str) -> list[Running]:
    found = results.trials(id, states=[TrialState.RUNNING], limit=_RUNNING_SHOWN).items
    tails = results.tails(id, [trial.number for trial in found], 1)
    since = results.since(id, found)
    return [_seen(trial, since[trial.number], tails.get(trial.number)) for trial in found]


def _seen(trial: Trial, since: str, tail: Tail | None) -> Running:
    return Running(trial, since, 0, None) if tail is None else Running(trial, since, tail.count, tail.reports[-1])


def _typed(name: str, value: JSON) -> str:
    """A limit as a field of a form has it; empty for no limit."""
    if value is None:
        return ""
    return format_duration(value) if name.endswith("Duration") else str(value)


def _more(experiment: Experiment, progress: Progress) -> str:
    """The options of `autoprune update` that give an experiment that is done more to do; empty where none does."""
    trials, seconds = experiment.limits.maxTrialNumber, experiment.limits.maxExperimentDuration
    options = []
    if trials is not None and progress.finished >= trials:
        options.append(f"{LIMITS['maxTrialNumber']} {progress.finished + _MORE_TRIALS}")
    if seconds is not None and experiment.duration >= seconds:
        longer = math.ceil(2 * max(seconds, experiment.duration))
        options.append(f"{LIMITS['maxExperimentDuration']} {format_duration(longer)}")
    return " ".join(options)
