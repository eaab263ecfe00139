"""What became of a command that a form has sent: the page that follows says it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from autoprune.results import Results
from autoprune.server import commanding

CommandId = Annotated[int | None, Query(ge=1, le=2**63 - 1)]

_SAID = {
    "stop": "The experiment was told to stop.",
    "update": "The limits are changed.",
    "kill": "The trial was told to end.",
    "retry": "The trial runs again.",
    "enqueue": "The trial will run.",
}


def told(results: Results, experiment: str, command: int | None) -> str:
    """A sentence about the command; empty without one."""
    if command is None:
        return ""
    found = commanding.get(results, experiment, command)
    match found.state:
        case "refused":
            return f"That was refused: {found.answer}"
        case "done":
            return _SAID[found.kind]
        case _:
            return "The manager of the experiment has been asked, and will answer in a moment."
