"""From what was found to tables: means over the seeds, how far ours is ahead, and what may be chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from scipy.stats import t

from searching.problems import Refit

HEAD = (
    "| method | test accuracy | ours is ahead by | may be chance? | validation | used | within the budget | "
    "ours is there at trial |"
)


@dataclass(frozen=True)
class Outcome:
    """What one method came to on one problem under one seed. `values` are None for what makes no trials."""

    method: str
    seed: int
    refits: Sequence[Refit]
    values: Sequence[float | None] | None = None
    met: bool = True

    @property
    def test(self) -> float:
        return fmean(refit.test for refit in self.refits)


def table(outcomes: Mapping[str, Sequence[Outcome]], ours: str) -> str:
    """A row for each method, the best first."""
    lines = [HEAD, f"|---{'|---:' * (HEAD.count('|') - 2)}|"]
    for method, own in sorted(outcomes.items(), key=lambda item: -fmean(one.test for one in item[1])):
        trained = [refit.value for one in own for refit in one.refits]
        used = fmean(refit.used for one in own for refit in one.refits)
        cells = [
            method if method != ours else f"**{method}**",
            plus_minus([one.test for one in own]),
            *(("", "") if method == ours or ours not in outcomes else lead(outcomes[ours], own)),
            f"{fmean(trained):.2f}",
            f"{used:.4%}",
            f"{sum(one.met for one in own)} of {len(own)}" if own[0].values is not None else "",
            "" if method == ours or ours not in outcomes else reached(outcomes[ours], own),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def lead(ours: Sequence[Outcome], others: Sequence[Outcome]) -> tuple[str, str]:
    """The mean difference under the same seed, and whether it may be none (a t-test of the pairs, at 95 %)."""
    differences = paired(ours, others)
    mean = fmean(differences)
    error = standard_error(differences) * float(t.ppf(0.975, max(len(differences) - 1, 1)))
    verdict = "yes" if math.isnan(error) or abs(mean) <= error else "no, ahead" if mean > 0 else "no, behind"
    return plus_minus(differences, "+.2f"), verdict


def paired(ours: Sequence[Outcome], others: Sequence[Outcome]) -> list[float]:
    theirs = {one.seed: one.test for one in others}
    return [one.test - theirs[one.seed] for one in ours if one.seed in theirs]


def reached(ours: Sequence[Outcome], others: Sequence[Outcome]) -> str:
    """The trial at which ours is as good, by the values that choose, as the other is at its end; the median of all
    seeds."""
    places: list[float] = []
    by_seed = {one.seed: one for one in others}
    for one in ours:
        other = by_seed.get(one.seed)
        if other is None or other.values is None or one.values is None:
            continue
        end = other.values[-1]
        places.append(next((place for place, value in enumerate(one.values, 1) if at_least(value, end)), math.inf))
    if not places:
        return ""
    middle = median(places)
    return "not reached" if math.isinf(middle) else f"{middle:g}"


def at_least(value: float | None, end: float | None) -> bool:
    """Whether a value is there, and as good as an end that may not be."""
    return value is not None and (end is None or value >= end)


def noise(outcomes: Mapping[str, Sequence[Outcome]]) -> float:
    """The standard deviation of one refit's test accuracy, pooled over all sets of refits."""
    sets = [[refit.test for refit in one.refits] for own in outcomes.values() for one in own]
    freedom = sum(len(values) - 1 for values in sets)
    squares = sum((value - fmean(values)) ** 2 for values in sets for value in values)
    return math.sqrt(squares / freedom) if freedom else math.nan


def curve(outcomes: Sequence[Outcome]) -> list[float | None]:
    """The mean of the best so far over the seeds, from the trial on at which all have something."""
    together = zip(*(one.values or [] for one in outcomes), strict=False)
    return [None if None in values else fmean(value for value in values if value is not None) for values in together]


def plus_minus(values: Sequence[float], form: str = ".2f") -> str:
    """The mean, and its standard error where there are two values."""
    error = standard_error(values)
    return f"{fmean(values):{form}}" + ("" if math.isnan(error) else f" ± {error:.2f}")


def standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
