"""The trials of an experiment as a table. All that is chosen stands in the address, so that it can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from autoprune.records import TrialState
from autoprune.results import Results
from autoprune.results.shapes import came_from
from autoprune.server.api.common import Cursor, Id, Source
from autoprune.server.page import formats, tables
from autoprune.server.page.answers import CommandId, told
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.rendering import render

_PAGE = 50
_LONGEST = 300

router = APIRouter(route_class=PageRoute)

Column = Annotated[str, Query(max_length=_LONGEST)]
Feasible = Literal["", "yes", "no"]


@dataclass(frozen=True)
class Choice:
    """What a reader has chosen to see."""

    state: Sequence[TrialState] = ()
    feasible: Feasible = ""
    origin: str = ""
    sort: str = "-number"
    column: Sequence[str] = ()
    cursor: str | None = None

    def address(self, **changes: object) -> str:
        """Where the same is seen, but for some changes. Another order or other trials begin at the first page."""
        chosen = replace(self, **{"cursor": None, **changes})  # type: ignore[arg-type]
        given = {
            field.name: value for field in fields(chosen) if (value := getattr(chosen, field.name)) != field.default
        }
        return f"?{urlencode(given, doseq=True)}"

    def sorted_by(self, column: str) -> str:
        """Where this column comes first from the largest down, and the other way when it does already."""
        return self.address(sort=column if self.sort == f"-{column}" else f"-{column}")

    def order(self, column: str) -> str | None:
        """What a table's heading says of its order to a screen reader."""
        return {column: "ascending", f"-{column}": "descending"}.get(self.sort)


@router.get("/experiments/{id}/trials")
def trials_page(
    request: Request,
    results: Source,
    id: Id,
    state: Annotated[list[TrialState], Query(default_factory=list)],
    column: Annotated[list[Column], Query(default_factory=list, max_length=_LONGEST)],
    feasible: Feasible = "",
    origin: Annotated[str, Query(max_length=_LONGEST)] = "",
    sort: Annotated[str, Query(max_length=_LONGEST)] = "-number",
    cursor: Cursor = None,
    command: CommandId = None,
) -> Response:
    return listing(request, results, id, Choice(state, feasible, origin, sort, column, cursor), command)


def listing(
    request: Request,
    results: Results,
    id: str,
    choice: Choice,
    command: int | None = None,
    *,
    problem: str = "",
    ticked: Sequence[int] = (),
    typed: str = "",
) -> Response:
    """The page; with a `problem`, it is the answer to a form that was filled in wrongly, which it shows again."""
    experiment = results.experiment(id)
    answer = told(results, experiment.id, command)
    if answer and answer.asked and answer.kind == "enqueue":
        typed = formats.pretty(answer.asked["parameters"])
    page = results.trials(
        experiment.id,
        states=choice.state,
        feasible={"yes": True, "no": False}.get(choice.feasible),
        origin=choice.origin or None,
        sort=choice.sort,
        limit=_PAGE,
        cursor=choice.cursor,
    )
    rows = [(trial, tables.cells(trial)) for trial in page.items]
    available = tables.columns([cells for _, cells in rows])
    return render(
        request,
        "trials.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
        tab="Trials",
        experiment=experiment,
        choice=choice,
        rows=rows,
        next=page.next,
        available=available,
        shown=[name for name in choice.column if name] or tables.unasked([cells for _, cells in rows]),
        heading=tables.heading,
        came_from=came_from,
        any_origin=any(came_from(trial) for trial in page.items),
        since=results.since(experiment.id, [each for each in page.items if each.state is TrialState.RUNNING]),
        problem=problem,
        ticked=ticked,
        typed=typed,
        example=formats.pretty(rows[0][0].parameters if rows else {}),
        states=list(TrialState),
        command=answer,
    )
