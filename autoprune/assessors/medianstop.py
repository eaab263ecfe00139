"""Median stop: a trial ends when its best result so far is worse than the median of the completed trials' averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from autoprune.assessors.base import Assessor, AssessorArgs, Curve
from autoprune.records import Verdict


class MedianstopArgs(AssessorArgs):
    start_step: int = Field(0, ge=0, description="intermediate results a trial reports before it is judged")


class Medianstop(Assessor):
    name = "Medianstop"
    Args: ClassVar[type[AssessorArgs]] = MedianstopArgs

    def judge(self, curve: Curve, others: Sequence[Curve]) -> Verdict:
        assert isinstance(self.args, MedianstopArgs)
        step = len(curve.values)
        completed = [other.values[:step] for other in others if other.completed and len(other.values) >= step]
        if step < max(1, self.args.start_step) or not completed:
            return Verdict()
        sign = self.sign
        best = max(sign * value for value in curve.values)
        averages = sorted(sum(sign * value for value in values) / step for values in completed)
        median = averages[(len(averages) - 1) // 2]
        if best >= median:
            return Verdict()
        reason = f"best of {step} results {sign * best:g} is {self.worse} the median {sign * median:g}"
        return Verdict(stop=True, reason=f"{reason} of {len(averages)} completed trials")
