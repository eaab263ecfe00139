"""What became of a command that a form has sent: the page that follows says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query

from autoprune.records import JSON
from autoprune.results import Results
from autoprune.server import commanding
from autoprune.store import commands

CommandId = Annotated[int | None, Query(ge=1, le=2**63 - 1)]

_SAID = {
    "stop": "The experiment was told to stop.",
    "update": "The limits are changed.",
    "kill": "was told to end.",
    "retry": "runs again.",
    "enqueue": "will run.",
    "import": "The results are imported.",
}
_ASKED = "The manager of the experiment has been asked, and will answer in a moment."


@dataclass(frozen=True)
class Told:
    """A sentence about a command of this kind. Where it is about a trial, it begins with that; of one that was refused,
    what was `asked` may be asked again."""

    kind: str
    said: str
    trial: int | None = None
    pending: bool = False
    refused: bool = False
    asked: Mapping[str, JSON] | None = None


def told(results: Results, experiment: str, command: int | None) -> Told | None:
    """What to say of the command; None without one."""
    if command is None:
        return None
    found = commanding.get(results, experiment, command)
    with results.store.read() as tx:
        asked = commands.of_experiment(tx, experiment, command).data
    match found.state:
        case "refused":
            return Told(found.kind, f"That was refused: {found.answer}", refused=True, asked=asked)
        case "done":
            return Told(found.kind, _SAID[found.kind], asked.get("trial") if found.trial is None else found.trial)
        case _:
            return Told(found.kind, _ASKED, pending=True)
