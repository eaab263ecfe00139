"""Experiments, and what is asked of one as a whole."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from autoprune.errors import NotFoundError
from autoprune.results.models import (
    Best,
    Experiment,
    ExperimentDetail,
    Importance,
    Page,
    ParetoTrial,
    Statistics,
    TaskModel,
)
from autoprune.server.api.common import UNCHANGED, Cursor, Id, Limit, Source
from autoprune.server.etags import TaggedRoute

_SPACE = {"lr": {"_type": "loguniform", "_value": [0.001, 0.1]}, "layers": {"_type": "choice", "_value": [2, 3, 4]}}

router = APIRouter(prefix="/experiments", tags=["experiments"], route_class=TaggedRoute, responses=UNCHANGED)


@router.get("", response_description="A page of experiments.")
def list_experiments(results: Source, limit: Limit = 100, cursor: Cursor = None) -> Page[Experiment]:
    """All experiments of the workspace, the newest first."""
    return results.experiments(limit=limit, cursor=cursor)


@router.get("/{id}", response_description="The experiment.")
def get_experiment(results: Source, id: Id) -> ExperimentDetail:
    """One experiment with its configuration, in which `searchSpace` is as the user nested it."""
    return results.experiment(id)


@router.get(
    "/{id}/search-space",
    response_description="The search space, in the form of a search space file.",
    responses={200: {"content": {"application/json": {"example": _SPACE}}}},
)
def get_search_space(results: Source, id: Id) -> dict[str, Any]:
    """What the tuner searches, as the user nested it; empty before the model of a task has been studied."""
    return results.search_space(id)


@router.get("/{id}/best", response_description="The best trial.")
def get_best(results: Source, id: Id) -> Best:
    """The best trial; 404 while none has succeeded and is feasible."""
    return results.best(id)


@router.get("/{id}/pareto", response_description="The trials, those of the best value first, all at once.")
def list_pareto(results: Source, id: Id) -> Page[ParetoTrial]:
    """The succeeded trials that no other beats in everything that is optimised.

    Left out are repeats, and trials that lack a number or break a constraint.
    """
    return results.pareto(id)


@router.get("/{id}/importance", response_description="The parameters, the most important first, all at once.")
def list_importance(results: Source, id: Id) -> Page[Importance]:
    """How much each parameter matters: by how much worse the result is foretold without it.

    Empty while too few trials have succeeded, or where no parameter explains more than chance. Parameters of different
    branches of a choice are different. The same trials give the same answer.
    """
    return Page[Importance](items=results.importance(id))


@router.get("/{id}/statistics", response_description="The numbers.")
def get_statistics(results: Source, id: Id) -> Statistics:
    """The experiment in numbers: trials by state, times, and how the best value grew."""
    return results.statistics(id)


@router.get("/{id}/model", response_description="The facts, and the result.")
def get_model(results: Source, id: Id) -> TaskModel:
    """What is known of the model of a task, and what its search came to; 404 where there is none."""
    facts = results.facts(id)
    if facts is None:
        raise NotFoundError(
            f"nothing is known of a model of {results.resolve(id)}: it has no task, or has not studied it yet"
        )
    return TaskModel(facts=facts, result=results.result(id))
