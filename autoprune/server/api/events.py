"""What happens in an experiment, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse

from autoprune.server.api.common import Id, Source
from autoprune.server.live import MOST_CLIENTS, CrowdedError, Hub

_LARGEST_ID = 2**63 - 1
_EXAMPLE = """retry: 1000
id: 40

id: 41
event: trial_started
data: {"time": "2030-01-31T12:00:00.000Z", "trial": 7, "attempt": 0, "parameters": {"lr": 0.1}}

event: intermediate_result
data: {"time": "2030-01-31T12:00:04.000Z", "trial": 7, "attempt": 0, "seq": 0, "value": 0.93, "metrics": {"default": 0.93}}

id: 42
event: trial_ended
data: {"time": "2030-01-31T12:00:09.000Z", "trial": 7, "attempt": 0, "state": "SUCCEEDED", "value": 0.971, "message": ""}

"""  # noqa: E501
_RESPONSES: Mapping[int | str, dict[str, Any]] = {
    200: {
        "description": "A stream that does not end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}
LastEvent = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, le=_LARGEST_ID, description="Begin behind the event of this id.")
]
After = Annotated[
    int | None, Query(ge=0, le=_LARGEST_ID, description="The same, for who cannot set headers; the header counts.")
]


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


router = APIRouter(prefix="/experiments/{id}", tags=["events"])


@router.get("/events", response_class=EventStream, responses=dict(_RESPONSES))
async def watch_experiment(
    results: Source, request: Request, id: Id, last: LastEvent = None, after: After = None
) -> EventStream:
    """Server-sent events: what happens from now on, or behind an event that is known.

    Events are as `autoprune run --json` prints them, and have ids, except for `intermediate_result` and `final_result`,
    which are not sent again. A stream begins with the id of the event behind which it stands.
    The stream goes on after `experiment_ended`, since the experiment may be resumed; it ends with the server, and for a
    client that does not keep up. A client that comes back with `Last-Event-ID`, as browsers do, misses no event.
    """
    hub: Hub = request.app.state.hub
    experiment = await asyncio.to_thread(results.resolve, id)
    stream = hub.watch(experiment, last if last is not None else after)
    try:
        return EventStream(_whole(await anext(stream), stream))
    except CrowdedError:
        detail = f"{MOST_CLIENTS} clients are watching already; try again later"
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "10"}) from None


async def _whole(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A stream of which the first piece was taken already. It lets go of the rest however it ends."""
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece
