"""Curve fitting (after Domhan et al. 2015): a trial ends when its curve is bound to end worse than the best trial did.

Each family of learning curves is `c + a * g(x)` with a shape `g` from a grid, so that `c` and `a` have a closed form:
the fit always converges, and always to the same curve. All shapes flatten, as learning curves do. The best curve of
each family counts by the inverse of the variance it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from autoprune.assessors.base import Assessor, AssessorArgs, Curve
from autoprune.records import Verdict

if TYPE_CHECKING:
    import numpy as np

_LEAST_VARIANCE = 1e-6
"""Of a curve between 0 and 1; a fit that leaves less is not told from an exact one."""
_FLAT = 1e-12


class CurvefittingArgs(AssessorArgs):
    epoch_num: int = Field(ge=2, description="intermediate results of a whole trial, at which the curve is predicted")
    start_step: int = Field(6, ge=3, description="intermediate results a trial reports before it is judged")
    threshold: float = Field(
        0.95, ge=0, le=1, description="the part of the best completed trial's result to come up to"
    )
    gap: int = Field(1, ge=1, description="judge a trial at every so many intermediate results")


class Curvefitting(Assessor):
    name = "Curvefitting"
    Args: ClassVar[type[AssessorArgs]] = CurvefittingArgs

    def judge(self, curve: Curve, others: Sequence[Curve]) -> Verdict:
        assert isinstance(self.args, CurvefittingArgs)
        step, end = len(curve.values), self.args.epoch_num
        completed = [self.sign * other.values[-1] for other in others if other.completed and other.values]
        due = self.args.start_step <= step < end and (step - self.args.start_step) % self.args.gap == 0
        if not due or not completed:
            return Verdict()
        best = max(completed)
        needed = best - (1 - self.args.threshold) * abs(best)
        reached = [self.sign * value for value in curve.values]
        if max(reached) >= needed or (predicted := predict(reached, end)) >= needed:
            return Verdict()
        reason = f"predicted {self.sign * predicted:g} at step {end} is {self.worse} {self.sign * needed:g}"
        return Verdict(stop=True, reason=f"{reason}, which the best completed trial's {self.sign * best:g} asks for")


def predict(values: Sequence[float], end: int) -> float:
    """The value at step `end` of a curve of at least three values."""
    import numpy as np

    size = max(map(abs, values)) or 1.0
    scaled = np.array(values) / size
    low, span = scaled.min(), np.ptp(scaled)
    if span == 0:
        return values[0]
    curve = (scaled - low) / span
    steps = np.append(np.arange(1.0, len(values) + 1), float(end))
    fits = [_fit(shapes, curve, parameters) for parameters, shapes in _families(steps) if parameters < len(values)]
    weights = [1 / (variance + _LEAST_VARIANCE) for variance, _ in fits]
    return float(size * (low + span * np.average([at_end for _, at_end in fits], weights=weights)))


def _families(x: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """How many parameters a family has, and a row for each of its shapes at the steps `x`."""
    import numpy as np

    powers = np.linspace(0.1, 2.0, 20)[:, None]
    scales, exponents = np.meshgrid(np.geomspace(0.01, 2.0, 24), np.linspace(0.25, 1.0, 4))
    stretched = (x / x[-1] / scales.reshape(-1, 1)) ** exponents.reshape(-1, 1)
    return [
        (2, np.log(x)[None]),  # logx_linear
        (2, 1 / np.log(x + 1)[None]),  # ilog2
        (3, x**-powers),  # pow3
        (4, np.exp(-stretched)),  # exp4, Weibull, Janoschek
        (4, 1 / (1 + stretched)),  # MMF, Hill
    ]


def _fit(shapes: np.ndarray, curve: np.ndarray, parameters: int) -> tuple[float, float]:
    """The variance that the best of the shapes leaves, and its value at the last step, which the curve lacks."""
    import numpy as np

    known = shapes[:, :-1]
    mean = known.mean(1)
    centred = known - mean[:, None]
    spread = (centred**2).sum(1)
    slope = np.where(spread > _FLAT, centred @ (curve - curve.mean()) / np.maximum(spread, _FLAT), 0.0)
    left = ((curve - curve.mean() - slope[:, None] * centred) ** 2).sum(1)
    best = int(left.argmin())
    at_end = curve.mean() + slope[best] * (shapes[best, -1] - mean[best])
    return float(left[best]) / (len(curve) - parameters), float(at_end)
