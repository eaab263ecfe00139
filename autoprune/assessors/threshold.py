"""Threshold: a trial ends when its latest result is out of bounds, whatever the other trials do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from autoprune.assessors.base import Assessor, AssessorArgs, Curve
from autoprune.records import Verdict


class ThresholdArgs(AssessorArgs):
    lower: float | None = Field(None, allow_inf_nan=False, description="the least a result may be")
    upper: float | None = Field(None, allow_inf_nan=False, description="the most a result may be")
    start_step: int = Field(0, ge=0, description="intermediate results a trial reports before it is judged")

    @model_validator(mode="after")
    def _has_bounds(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("lower, upper, or both")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"a lower that is not above upper, which is {self.upper:g}")
        return self


class Threshold(Assessor):
    name = "Threshold"
    Args: ClassVar[type[AssessorArgs]] = ThresholdArgs

    def judge(self, curve: Curve, others: Sequence[Curve]) -> Verdict:
        assert isinstance(self.args, ThresholdArgs)
        step = len(curve.values)
        if step < max(1, self.args.start_step):
            return Verdict()
        latest, lower, upper = curve.values[-1], self.args.lower, self.args.upper
        if lower is not None and latest < lower:
            return Verdict(stop=True, reason=f"result {latest:g} at step {step} is below the lower bound {lower:g}")
        if upper is not None and latest > upper:
            return Verdict(stop=True, reason=f"result {latest:g} at step {step} is above the upper bound {upper:g}")
        return Verdict()
