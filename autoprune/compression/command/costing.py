"""`autoprune cost`: build, load, measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoprune.compression.command.subject import cost_of, load, tell


def run(*, subject: Mapping[str, Any], batch_sizes: Sequence[int]) -> dict[str, Any]:
    """The answer to a request of the command line."""
    given = load(**subject, if_compact="it is of a smaller model: give it as --compact")
    tell("measures")
    return {"model": given.called, **cost_of(given.model, given.example, batch_sizes).to_dict()}
