"""The trials of an experiment, and what is asked of one of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from autoprune.records import TrialState
from autoprune.results.models import Page, Report, Trial, TrialDetail
from autoprune.results.ordering import PATTERN
from autoprune.server.api.common import UNCHANGED, Cursor, Id, Limit, Source, TrialNumber
from autoprune.server.etags import TaggedRoute

States = Annotated[
    list[TrialState], Query(default_factory=list, description="Only trials in this state; may be repeated.")
]
Feasible = Annotated[
    bool | None, Query(description="Only trials that keep to all constraints (true), or break one (false).")
]
Origin = Annotated[
    str | None,
    Query(max_length=200, description="Only this starting point; empty, only trials that the tuner proposed."),
]
Order = Annotated[
    str,
    Query(
        json_schema_extra={"pattern": PATTERN},
        description="`number`, `value`, `started`, `ended`, `duration`, or `metric:` and the name of a number that "
        "trials report; with a `-` before it, from the largest down.",
        examples=["-value", "metric:macs"],
    ),
]

router = APIRouter(prefix="/experiments/{id}/trials", tags=["trials"], route_class=TaggedRoute, responses=UNCHANGED)


@router.get("", response_description="A page of trials.")
def list_trials(
    results: Source,
    id: Id,
    state: States,
    feasible: Feasible = None,
    origin: Origin = None,
    sort: Order = "number",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Trial]:
    """Trials, a page at a time. Trials without the value they are sorted by come last."""
    return results.trials(id, states=state, feasible=feasible, origin=origin, sort=sort, limit=limit, cursor=cursor)


@router.get("/{number}", response_description="The trial.")
def get_trial(results: Source, id: Id, number: TrialNumber) -> TrialDetail:
    """One trial with its attempts, and what it made of its model: the cost, and layer by layer what was asked for and
    what came."""
    return results.trial(id, number)


@router.get("/{number}/metrics", response_description="A page of reports.")
def list_metrics(
    results: Source, id: Id, number: TrialNumber, limit: Limit = 100, cursor: Cursor = None
) -> Page[Report]:
    """All that a trial reported, of all its attempts, in order."""
    return results.reports(id, number, limit=limit, cursor=cursor)
