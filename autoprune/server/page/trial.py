"""One trial: what it ran with, what came of it, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from fastapi import APIRouter, Request, Response

from autoprune.results.layers import proportions
from autoprune.results.logs import Stream
from autoprune.results.models import Trial
from autoprune.results.reader import Tail
from autoprune.results.shapes import came_from
from autoprune.server.api.common import Id, Source, TrialNumber
from autoprune.server.page import tables
from autoprune.server.page.answers import CommandId, told
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.logs import RANGE, Part, tail
from autoprune.server.page.rendering import render

_REPORTS = 20

router = APIRouter(route_class=PageRoute)


def may_have_curve(trial: Trial, tail: Tail | None) -> bool:
    """Whether it reported on its way, or still may."""
    return trial.ended is None or (tail is not None and any(not report.final for report in tail.reports))


@router.get("/experiments/{id}/trials/{number}")
def trial_page(request: Request, results: Source, id: Id, number: TrialNumber, command: CommandId = None) -> Response:
    experiment = results.experiment(id)
    trial = results.trial(experiment.id, number)
    tail_of = results.tails(experiment.id, [number], _REPORTS).get(number)
    logs: Mapping[str, Part | str] = {}
    if trial.attempts:
        logs = {stream: tail(results, experiment.id, number, stream) for stream in get_args(Stream)}
    return render(
        request,
        "trial.html",
        tab="Trials",
        experiment=experiment,
        trial=trial,
        numbers=tables.scalars(trial.metrics),
        names=tables.in_words(experiment),
        proportions=proportions(results.facts(experiment.id)),
        came_from=came_from(trial),
        since=results.since(experiment.id, [trial]).get(number),
        is_best=experiment.best is not None and experiment.best.number == number,
        has_curve=may_have_curve(trial, tail_of),
        reports=tail_of.reports if tail_of else [],
        reported=tail_of.count if tail_of else 0,
        logs=logs,
        range=RANGE,
        folder=results.workspace.trial(experiment.id, number),
        command=told(results, experiment.id, command),
    )
