"""Hyperband (Li et al. 2017), asynchronous: nobody knows how early a curve tells, so trials are dealt out to brackets
that start to halve later and later; the last one lets every trial run to its end.

A bracket with `s` halvings gets trials in proportion to ceil((s_max + 1) / (s + 1) * reduction_factor ** s), with which
all brackets cost about the same. Within it, trials are judged as `Asha` does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar, Self

from pydantic import Field, model_validator

from autoprune.assessors.asha import Asha, AshaArgs
from autoprune.assessors.base import Assessor, AssessorArgs, Curve
from autoprune.records import Verdict

_GOLDEN = (5**0.5 - 1) / 2


class HyperbandArgs(AssessorArgs):
    max_resource: int = Field(ge=2, description="intermediate results of a whole trial")
    min_resource: int = Field(1, ge=1, description="intermediate results at the first rung of all")
    reduction_factor: int = Field(3, ge=2, description="1 in so many trials goes on at a rung; each is so much higher")

    @model_validator(mode="after")
    def _has_brackets(self) -> Self:
        least = self.min_resource * self.reduction_factor
        if self.max_resource < least:
            raise ValueError(f"a max_resource of at least min_resource * reduction_factor, which is {least}")
        return self

    @property
    def most_halvings(self) -> int:
        halvings = 0
        while self.min_resource * self.reduction_factor ** (halvings + 1) <= self.max_resource:
            halvings += 1
        return halvings


class Hyperband(Assessor):
    name = "Hyperband"
    Args: ClassVar[type[AssessorArgs]] = HyperbandArgs

    def __init__(self, args: AssessorArgs) -> None:
        super().__init__(args)
        assert isinstance(args, HyperbandArgs)
        most, factor = args.most_halvings, args.reduction_factor
        rungs = [args.min_resource * factor**rung for rung in range(most + 1)]
        shared = {"optimize_mode": args.optimize_mode, "reduction_factor": factor, "max_resource": rungs[-1]}
        self._halving = [Asha(AshaArgs.model_validate({**shared, "min_resource": first})) for first in rungs[:-1]]
        sizes = [-(-(most + 1) * factor**halvings // (halvings + 1)) for halvings in range(most, -1, -1)]
        self._ends = list(accumulate(sizes))

    def judge(self, curve: Curve, others: Sequence[Curve]) -> Verdict:
        bracket = self.bracket(curve.number)
        if bracket == len(self._halving):
            return Verdict()
        rivals = [other for other in others if self.bracket(other.number) == bracket]
        return self._halving[bracket].judge(curve, rivals)

    def bracket(self, number: int) -> int:
        """The bracket of a trial; 0 halves first. By the golden ratio, so any row of trials is spread as it should."""
        return bisect_right(self._ends, number * _GOLDEN % 1 * self._ends[-1])
