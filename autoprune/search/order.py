"""What is asked for at the end of a search: which model to make, and what to compare it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoprune.records import JSON, Parameters
from autoprune.search.checkpoint import KEPT
from autoprune.search.result import Verdict


@dataclass(frozen=True)
class Run:
    """A trial that evaluated an allocation, and its folder, where its weights are if they were kept."""

    trial: int
    value: float | None
    output: Path

    @property
    def kept(self) -> Path:
        return self.output / KEPT

    @property
    def has_weights(self) -> bool:
        return self.kept.is_dir()


@dataclass(frozen=True)
class Candidate:
    """An allocation with all its runs: the trial it is of, then the repeats. A starting point has a name."""

    name: str
    parameters: Parameters
    runs: Sequence[Run]

    @property
    def trial(self) -> int:
        return self.runs[0].trial

    @classmethod
    def of(cls, given: Mapping[str, JSON]) -> Candidate:
        return cls(
            given["name"],
            given["parameters"],
            [Run(run["trial"], run["value"], Path(run["output"])) for run in given["runs"]],
        )


@dataclass(frozen=True)
class Order:
    """What is to be made: the first candidate's model, in the folder `out`; the others are compared with it.

    `epochs` is how long it trains on. With `anew`, kept weights are not used. A trial is made again with as many
    `threads` as trials have, unless the environment says how many.
    """

    experiment: str
    out: Path
    candidates: Sequence[Candidate]
    verdict: Verdict | None
    epochs: int
    threads: int | None
    anew: bool
