"""The addresses of the API. Each asks `Results` one question."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPBearer

import autoprune
from autoprune.records import TrialState
from autoprune.results import MAX_PAGE, Results
from autoprune.results.models import Best, Experiment, ExperimentDetail, Model, Page, Report, Trial, TrialDetail
from autoprune.server.problems import RESPONSES, Problem

PREFIX = "/api/v1"
_LARGEST_NUMBER = 2**31 - 1


class Health(Model):
    """The server answers and can read its database."""

    status: str = "ok"


class Version(Model):
    """What is running."""

    version: str
    api: str = "v1"


async def _results(request: Request) -> Results:
    results = request.app.state.results
    assert isinstance(results, Results)
    return results


Source = Annotated[Results, Depends(_results)]
Id = Annotated[str, Path(max_length=200, description="An experiment's id, or the beginning of one.")]
TrialNumber = Annotated[int, Path(ge=0, le=_LARGEST_NUMBER)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many items at most.")]
Cursor = Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")]
States = Annotated[
    list[TrialState], Query(default_factory=list, description="Only trials in this state; may be repeated.")
]
Order = Annotated[
    str,
    Query(
        pattern="^-?(number|value|started)$",
        description="`number`, `value` or `started`; with a `-` before it, from the largest down.",
        examples=["-value"],
    ),
]

router = APIRouter(
    prefix=PREFIX,
    dependencies=[Depends(HTTPBearer(auto_error=False, description="The token that was printed at the start."))],
    responses={status.value: {"model": Problem, "description": text} for status, text in RESPONSES.items()},
)


@router.get("/experiments", tags=["experiments"])
def list_experiments(results: Source, limit: Limit = 100, cursor: Cursor = None) -> Page[Experiment]:
    """All experiments of the workspace, the newest first."""
    return results.experiments(limit=limit, cursor=cursor)


@router.get("/experiments/{id}", tags=["experiments"])
def get_experiment(results: Source, id: Id) -> ExperimentDetail:
    """One experiment with its configuration."""
    return results.experiment(id)


@router.get("/experiments/{id}/best", tags=["trials"])
def get_best(results: Source, id: Id) -> Best:
    """The best trial; 404 while none has succeeded and is feasible."""
    return results.best(id)


@router.get("/experiments/{id}/trials", tags=["trials"])
def list_trials(
    results: Source,
    id: Id,
    state: States,
    sort: Order = "number",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Trial]:
    """Trials, a page at a time. Trials without the value they are sorted by come last."""
    return results.trials(id, states=state, sort=sort, limit=limit, cursor=cursor)


@router.get("/experiments/{id}/trials/{number}", tags=["trials"])
def get_trial(results: Source, id: Id, number: TrialNumber) -> TrialDetail:
    """One trial with its attempts."""
    return results.trial(id, number)


@router.get("/experiments/{id}/trials/{number}/metrics", tags=["trials"])
def list_metrics(
    results: Source, id: Id, number: TrialNumber, limit: Limit = 100, cursor: Cursor = None
) -> Page[Report]:
    """All that a trial reported, of all its attempts, in order."""
    return results.reports(id, number, limit=limit, cursor=cursor)


@router.get("/health", tags=["server"])
def get_health(results: Source) -> Health:
    """Whether the server can read its database."""
    results.check()
    return Health()


@router.get("/version", tags=["server"])
def get_version() -> Version:
    """The version of autoprune and of the API."""
    return Version(version=autoprune.__version__)
