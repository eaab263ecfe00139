"""What is asked of the manager that runs an experiment. Each answers 202 with a command, of which one can ask again."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from autoprune.config.values import MOST_AT_ONCE, Duration
from autoprune.results.models import Command, Model
from autoprune.server import commanding
from autoprune.server.api.common import LARGEST_NUMBER, Id, Source, TrialNumber
from autoprune.server.problems import Problem

_PROBLEMS = {
    HTTPStatus.FORBIDDEN: "It comes from a browser, but not from a page of this server.",
    HTTPStatus.CONFLICT: "No manager runs the experiment; `detail` has the command line to type.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
}
CommandId = Annotated[int, Path(ge=1, le=LARGEST_NUMBER, description="A command's id.")]
_Count = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]


class LimitsChange(TypedDict, total=False):
    """The limits to change, by their names in the configuration. Those left out stay; null takes one away."""

    __pydantic_config__ = ConfigDict(  # type: ignore[misc]
        extra="forbid",
        strict=True,
        json_schema_extra={"minProperties": 1, "examples": [{"maxTrialNumber": 200, "maxExperimentDuration": "2h"}]},
    )

    trialConcurrency: Annotated[int, Field(ge=1, le=MOST_AT_ONCE, description="How many trials run at a time.")]
    maxTrialNumber: Annotated[_Count | None, Field(description="How many trials run in all.")]
    maxExperimentDuration: Annotated[
        Duration | None, Field(description="How long it may run: seconds, or as in a configuration, such as `90m`.")
    ]


class NewTrial(Model):
    """A trial to run with these parameters."""

    parameters: dict[str, Any] = Field(
        description="Of the search space, nested as it is.",
        examples=[{"prune_method": {"_name": "agp", "conv0_sparsity": 0.3, "conv1_sparsity": 0.8}}],
    )


router = APIRouter(prefix="/experiments/{id}", tags=["commands"])
_COMMAND: Mapping[str, Any] = {
    "status_code": HTTPStatus.ACCEPTED,
    "responses": {
        HTTPStatus.ACCEPTED.value: {
            "description": "The command, which waits for the manager.",
            "headers": {"Location": {"description": "Where to ask what became of it.", "schema": {"type": "string"}}},
        },
        **{status.value: {"model": Problem, "description": text} for status, text in _PROBLEMS.items()},
    },
}


@router.post("/stop", **_COMMAND)
def stop_experiment(results: Source, request: Request, response: Response, id: Id) -> Command:
    """Stop the experiment. What runs is ended, and waits to run again when somebody resumes it."""
    return _sent(commanding.send(results, id, "stop", {}), request, response)


@router.patch("/limits", **_COMMAND)
def update_limits(results: Source, request: Request, response: Response, id: Id, limits: LimitsChange) -> Command:
    """Change how many trials run, at a time and in all, and how long."""
    return _sent(commanding.send(results, id, "update", limits), request, response)


@router.post("/trials", **_COMMAND)
def enqueue_trial(results: Source, request: Request, response: Response, id: Id, trial: NewTrial) -> Command:
    """Have a trial run with given parameters, next. It counts as any other; the command tells its number."""
    return _sent(commanding.send(results, id, "enqueue", {"parameters": trial.parameters}), request, response)


@router.post("/trials/{number}/kill", **_COMMAND)
def kill_trial(results: Source, request: Request, response: Response, id: Id, number: TrialNumber) -> Command:
    """Kill a trial with every process it started; it ends as USER_CANCELED."""
    return _sent(commanding.send(results, id, "kill", {"trial": number}), request, response)


@router.post("/trials/{number}/retry", **_COMMAND)
def retry_trial(results: Source, request: Request, response: Response, id: Id, number: TrialNumber) -> Command:
    """Have a trial that ended without success run once more, as its next attempt."""
    return _sent(commanding.send(results, id, "retry", {"trial": number}), request, response)


@router.get("/commands/{command}", response_description="The command.")
def get_command(results: Source, id: Id, command: CommandId) -> Command:
    """What became of a command."""
    return commanding.get(results, id, command)


def _sent(command: Command, request: Request, response: Response) -> Command:
    where = request.app.url_path_for("get_command", id=command.experiment, command=command.id)
    response.headers["Location"] = str(where)
    return command
