"""What the forms of the page send: each leaves a command and leads back to a page that says what became of it.

What cannot be is said beside the form, which is shown once more as it was filled in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import RedirectResponse

from autoprune.errors import ConflictError, NotFoundError, UsageError
from autoprune.records import JSON
from autoprune.results import Results
from autoprune.server import commanding
from autoprune.server.access import form
from autoprune.server.api.common import Id, Source, TrialNumber
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.overview import overview
from autoprune.server.page.trials import Choice, listing

router = APIRouter(route_class=PageRoute)


async def _fields(request: Request) -> dict[str, str]:
    """The fields of the form, the last of each name."""
    return {name: values[-1].strip() for name, values in form(request, await request.body()).items()}


Fields = Annotated[Mapping[str, str], Depends(_fields)]


@router.post("/experiments/{id}/stop")
def stop_experiment(results: Source, id: Id) -> RedirectResponse:
    return _send(results, id, "stop", {}, f"/experiments/{quote(id)}")


@router.post("/experiments/{id}/limits")
def change_limits(request: Request, results: Source, id: Id, fields: Fields) -> Response:
    """Only what differs from what the form showed (`was.NAME`); a field left empty is no limit."""
    typed = {
        name: fields[name] for name in commanding.LIMITS if name in fields and fields[name] != fields.get(f"was.{name}")
    }
    try:
        if not typed:
            raise UsageError("these are the limits that the page showed: nothing is changed")
        changed = {name: _limit(name, text) for name, text in typed.items()}
        return _send(results, id, "update", changed, f"/experiments/{quote(id)}")
    except UsageError as error:
        return overview(request, results, id, problem=_mistake(error), typed=typed)


@router.post("/experiments/{id}/trials")
def enqueue_trial(request: Request, results: Source, id: Id, fields: Fields) -> Response:
    typed = fields.get("parameters", "")
    try:
        return _send(results, id, "enqueue", {"parameters": _parameters(typed)}, f"/experiments/{quote(id)}/trials")
    except UsageError as error:
        return listing(request, results, id, Choice(), problem=_mistake(error), typed=typed)


@router.post("/experiments/{id}/trials/{number}/kill")
def kill_trial(results: Source, id: Id, number: TrialNumber, fields: Fields) -> RedirectResponse:
    """Leads back to where the form was: the overview, or the trial."""
    here = "" if "overview" in fields else f"/trials/{number}"
    return _send(results, id, "kill", {"trial": number}, f"/experiments/{quote(id)}{here}")


@router.post("/experiments/{id}/trials/{number}/retry")
def retry_trial(results: Source, id: Id, number: TrialNumber) -> RedirectResponse:
    return _send(results, id, "retry", {"trial": number}, f"/experiments/{quote(id)}/trials/{number}")


def _send(results: Results, id: str, kind: str, data: Mapping[str, JSON], back: str) -> RedirectResponse:
    command = commanding.send(results, id, kind, data)
    return RedirectResponse(f"{back}?command={command.id}", HTTPStatus.SEE_OTHER)


def _limit(name: str, text: str) -> JSON:
    """None for no limit; a duration stays as it was typed."""
    if not text or name == "maxExperimentDuration":
        return text or None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"given {name} {text[:40]!r}; expected a whole number, or nothing for no limit") from None


def _parameters(text: str) -> JSON:
    try:
        parameters: JSON = json.loads(text)
    except RecursionError:
        raise UsageError("the parameters are nested too deep") from None
    except ValueError as error:
        raise UsageError(f"the parameters are not JSON: {error}") from None
    if not isinstance(parameters, dict):
        raise UsageError("given other JSON; expected the parameters as an object, {...}")
    return parameters


def _mistake(error: UsageError) -> str:
    """What the form says when it is shown again; raises what no other filling of it would mend."""
    if isinstance(error, (NotFoundError, ConflictError)):
        raise error
    return str(error)
