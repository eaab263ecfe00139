"""What a tuner is: a function from what is known to the next parameters.

A tuner keeps nothing that it could not rebuild: `ask` gets the whole history each time, and a random generator is
seeded afresh from the experiment's seed and the trial's number. So the same experiment gives the same sequence
through any number of kills and restarts. A tuner may cache what it derives from `history.finished`, which only
ever grows at its end. State that cannot be derived goes into the proposal, as JSON, and comes back with its trial.

A trial that breaks a constraint is told to the tuner with a worse result than it had: behind the worst of the feasible
ones that had finished before it, the further the more it breaks, at the most by as much as the worst was behind the
best. That is Deb's rule (2000), with distances that a model of the results can bear. Before anything is feasible, it is
told as a trial without a result. Such a trial has `feasible` false, and its own result stands in the store alone.
Starting points and repeats of the leaders are told like any trial that the tuner did not propose.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from autoprune.errors import ConfigError
from autoprune.records import History, OptimizeMode, Proposal, Trial, TrialState
from autoprune.search_space import Space, flatten
from autoprune.search_space.leaves import is_number


class TunerArgs(BaseModel):
    """The `classArgs` every tuner takes. A tuner with more of them subclasses this as its `Args`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    optimize_mode: OptimizeMode = Field(
        OptimizeMode.MAXIMIZE, description="maximize or minimize the default metric", strict=False
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="makes the sequence of parameters reproducible")


class NestedArgs(TunerArgs):
    """The `classArgs` of a tuner that can search a nested space as it stands, and flattened if it is told to."""

    flatten: bool = Field(
        False, description="search a flat space, where parameters of one name under several branches are one"
    )


def _not_default(name: str) -> str:
    if name == "default":
        raise ValueError("another name: default is optimised in any case, and optimize_mode is its direction")
    return name


class ObjectivesArgs(TunerArgs):
    """The `classArgs` of a tuner that can optimise several numbers at once."""

    objectives: dict[Annotated[str, AfterValidator(_not_default)], Annotated[OptimizeMode, Field(strict=False)]] = (
        Field(
            default_factory=dict,
            description="further numbers of the final result to maximize or minimize beside the default metric",
        )
    )


class Tuner(ABC):
    """Subclass, give it a `name`, write `ask`. `seed` is the experiment's, always set.

    `seeded` says whether the seed makes a difference; where it does not, the sequence is the space's alone.
    `learns` says whether results make a difference. `flattens` says that the tuner searches flat spaces only,
    whatever the user's looks like.
    """

    name: ClassVar[str]
    Args: ClassVar[type[TunerArgs]] = TunerArgs
    seeded: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    flattens: ClassVar[bool] = False

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        self.space = space
        self.args = args
        self.seed = seed

    @abstractmethod
    def ask(self, number: int, history: History) -> Proposal | None:
        """Parameters for trial `number`, or None when the search is exhausted."""

    @classmethod
    def check(cls, space: Space, args: TunerArgs) -> str | None:
        """Why this tuner cannot search this space, in a sentence; None when it can."""
        return None

    def seed_for(self, number: int) -> int:
        """A seed in [0, 2**32) for one ask."""
        digest = hashlib.blake2b(f"{self.seed}/{number}".encode(), digest_size=4).digest()
        return int.from_bytes(digest)

    def loss(self, trial: Trial) -> float | None:
        """The trial's value turned so that smaller is better; None for a trial without one."""
        if trial.value is None or trial.state not in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED):
            return None
        return _turned(trial.value, self.args.optimize_mode)

    @property
    def objectives(self) -> list[tuple[str, OptimizeMode]]:
        """What is optimised beside the default metric, in an order of its own."""
        return sorted(self.args.objectives.items()) if isinstance(self.args, ObjectivesArgs) else []

    def losses(self, trial: Trial) -> tuple[float, ...] | None:
        """All that is optimised, the default metric first, each turned so that smaller is better.

        None for a trial that lacks any of it. With several objectives, early stopped trials are passed over: what
        they reported last need not hold every number, nor mean what a final result means.
        """
        loss, objectives = self.loss(trial), self.objectives
        if loss is None or not objectives:
            return None if loss is None else (loss,)
        complete = all(is_number(trial.metrics.get(name)) for name, _ in objectives)
        if trial.state is TrialState.EARLY_STOPPED or not complete:
            return None
        return (loss, *(_turned(float(trial.metrics[name]), mode) for name, mode in objectives))

    def flat(self, trial: Trial) -> dict[str, float] | None:
        """The trial's parameters by path; None where they are not of this space, as enqueued ones may be."""
        try:
            return flatten(self.space, trial.parameters)
        except ConfigError:
            return None


def _turned(value: float, mode: OptimizeMode) -> float:
    return -value if mode is OptimizeMode.MAXIMIZE else value
