"""The addresses of the API: a file for each kind of thing. Each asks `Results` one question."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.security import HTTPBearer

from autoprune.server.api import about, commands, events, experiments, exports, logs, trials
from autoprune.server.names import refuse_unknown
from autoprune.server.problems import RESPONSES, Problem

PREFIX = "/api/v1"

router = APIRouter(
    prefix=PREFIX,
    dependencies=[
        Depends(HTTPBearer(auto_error=False, description="The token that was printed at the start.")),
        Depends(refuse_unknown),
    ],
    responses={status.value: {"model": Problem, "description": text} for status, text in RESPONSES.items()},
)
for part in (experiments, exports, commands, events, trials, logs, about):
    router.include_router(part.router)
