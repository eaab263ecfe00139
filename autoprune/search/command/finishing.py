"""After the search: make the best trial's model, or that of any trial again, with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoprune.records import JSON
from autoprune.search.finishing import clear, finish
from autoprune.search.job import Job
from autoprune.search.order import Candidate, Order
from autoprune.search.result import Verdict
from autoprune.search.settings import Settings


def run(
    *,
    settings: Mapping[str, JSON],
    experiment: str,
    out: str,
    candidates: Sequence[Mapping[str, JSON]],
    verdict: Mapping[str, JSON] | None = None,
    epochs: int | None = None,
    threads: int | None = None,
    anew: bool = False,
    outputs: Sequence[str] = (),
) -> dict[str, Any]:
    """The result, as JSON, once everything is written; `outputs` are the folders of trials that are over."""
    given = Settings.of(settings)
    order = Order(
        experiment=experiment,
        out=Path(out),
        candidates=[Candidate.of(candidate) for candidate in candidates],
        verdict=None if verdict is None else Verdict(**verdict),
        epochs=given.final_epochs if epochs is None else epochs,
        threads=threads,
        anew=anew,
    )
    result = finish(Job.of(given), order)
    clear(outputs)
    return asdict(result)
