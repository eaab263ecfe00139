"""Asynchronous successive halving (Li et al. 2018), as a rule for stopping: at each rung the best of the trials that
have come as far go on, 1 in `reduction_factor`, and nobody waits for the others.

A resource is an intermediate result. Several may arrive at once and pass a rung by, so a trial between two rungs is
judged by the lower one, with the best it has reported since; one that has caught up is not stopped for its past.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from autoprune.assessors.base import Assessor, AssessorArgs, Curve
from autoprune.records import Verdict


class AshaArgs(AssessorArgs):
    min_resource: int = Field(1, ge=1, description="intermediate results at the first rung")
    reduction_factor: int = Field(4, ge=2, description="1 in so many trials goes on at a rung; each is so much higher")
    max_resource: int | None = Field(None, ge=2, description="intermediate results of a whole trial; rungs are below")

    @model_validator(mode="after")
    def _has_a_rung(self) -> Self:
        if self.max_resource is not None and self.max_resource <= self.min_resource:
            raise ValueError(f"a max_resource above min_resource, which is {self.min_resource}")
        return self


class Asha(Assessor):
    name = "Asha"
    Args: ClassVar[type[AssessorArgs]] = AshaArgs

    def judge(self, curve: Curve, others: Sequence[Curve]) -> Verdict:
        assert isinstance(self.args, AshaArgs)
        rung = self._rung(len(curve.values))
        if rung is None:
            return Verdict()
        reached = max(self.sign * value for value in curve.values[rung - 1 :])
        rivals = [self.sign * other.values[rung - 1] for other in others if len(other.values) >= rung]
        count = len(rivals) + 1
        kept = max(1, count // self.args.reduction_factor)
        ahead = sorted(value for value in rivals if value > reached)
        if len(ahead) < kept:
            return Verdict()
        result = f"best result {self.sign * reached:g} from step {rung} on is {self.worse} {self.sign * ahead[-kept]:g}"
        return Verdict(stop=True, reason=f"{result}, which the best {kept} of {count} trials had reached at it")

    def _rung(self, step: int) -> int | None:
        """The highest rung that a trial with so many results has reached."""
        assert isinstance(self.args, AshaArgs)
        highest = step if self.args.max_resource is None else min(step, self.args.max_resource - 1)
        rung = self.args.min_resource
        if highest < rung:
            return None
        while rung * self.args.reduction_factor <= highest:
            rung *= self.args.reduction_factor
        return rung
