"""What an assessor is: a function from learning curves to a verdict about one running trial."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from autoprune.records import OptimizeMode, Verdict


@dataclass(frozen=True)
class Curve:
    """The intermediate results of one trial's latest attempt; `completed` once it has succeeded."""

    number: int
    values: Sequence[float]
    completed: bool = False


class AssessorArgs(BaseModel):
    """The `classArgs` every assessor takes; `optimize_mode` follows the tuner's unless given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    optimize_mode: OptimizeMode = Field(OptimizeMode.MAXIMIZE, description="maximize or minimize", strict=False)


class Assessor(ABC):
    """Subclass, give it a `name`, write `judge`."""

    name: ClassVar[str]
    Args: ClassVar[type[AssessorArgs]] = AssessorArgs

    def __init__(self, args: AssessorArgs) -> None:
        self.args = args

    @property
    def sign(self) -> int:
        """What results are multiplied by so that larger ones are better."""
        return 1 if self.args.optimize_mode is OptimizeMode.MAXIMIZE else -1

    @property
    def worse(self) -> str:
        """On which side of a result the worse ones are, in a word."""
        return "below" if self.sign > 0 else "above"

    @abstractmethod
    def judge(self, curve: Curve, others: Sequence[Curve]) -> Verdict:
        """Whether the trial of `curve`, which has just reported, should stop; `others` are all other trials'."""
