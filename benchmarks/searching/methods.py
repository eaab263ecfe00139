"""Ways to find an allocation, each told by its name.

lamp                          the allocation of this starting point, without a trial
TPE+penalty                   a tuner, on sparsities as they are; what is above the budget costs accuracy
TPE+scaling                   a tuner, whose proposals are scaled to the budget
GP+scaling+starts             all starting points are tried first; with +uniform, that one alone
...+repeats                   the last trials repeat the leaders, and these decide
...+gradual                   gradual pruning is among the pruners; the two trainings that it learns from are trials
auto+scaling+starts+repeats+gradual   what `autoprune run` does
lamp x2                       the allocation of this starting point, trained twice as long
FastNAS                       of NVIDIA Model Optimizer, without a trial
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoprune.manager.repeating import due
from autoprune.records import History, OptimizeMode, Parameters, Proposal, StartingPoint, Trial, TrialState
from autoprune.search.pruning import GRADUAL
from autoprune.search.space import read_parameters
from autoprune.standings import SAME_AS, standings
from autoprune.tuners import make_tuner, tuners
from searching.problems import Problem

OURS = "auto+scaling+starts+repeats+gradual"
FASTNAS = "FastNAS"
BY_HAND = "by hand"
"""A starting point that no search may know."""
PENALTY = 300.0
"""Points for using all of the dense network more than the budget: so many that to miss it never pays."""
WITHIN = 1e-6
LEARNING = 2
"""The trainings of a gradual pruning."""
_OPTIONS = ("scaling", "penalty", "starts", "repeats", "gradual")


@dataclass(frozen=True)
class Search:
    """A tuner and how it is used. `starts` names starting points, None all of them."""

    tuner: str
    scaled: bool
    starts: Sequence[str] | None
    repeats: bool
    gradual: bool

    @classmethod
    def of(cls, method: str) -> Search:
        tuner, *options = method.split("+")
        if tuner not in tuners.names() or len({"scaling", "penalty"} & set(options)) != 1:
            expected = f"one of {', '.join(tuners.names())}, and scaling or penalty after a +"
            raise SystemExit(f"given the method {method}; expected {expected}, such as {OURS}")
        named = [option for option in options if option not in _OPTIONS]
        starts = None if "starts" in options else named
        return cls(tuner, "scaling" in options, starts, "repeats" in options, "gradual" in options)

    def first(self, points: Sequence[StartingPoint]) -> list[StartingPoint]:
        """Those of the starting points that are tried first."""
        rules = [point for point in points if point.name != BY_HAND and (self.gradual or not is_gradual(point))]
        return rules if self.starts is None else [point for point in rules if rule_of(point.name) in self.starts]


def is_gradual(point: StartingPoint) -> bool:
    return read_parameters(point.parameters)[0] == GRADUAL


def rule_of(name: str) -> str:
    """The heuristic behind the name of a starting point: where there are several pruners, it ends with one."""
    return name.partition(" (")[0]


@dataclass(frozen=True)
class Found:
    """What a search found: its best within the budget, or the best for its penalty where there is none (`met` is
    false). `values` are the best accuracies so far, within the budget, by trial."""

    parameters: Parameters
    met: bool
    values: Sequence[float | None]


def search(problem: Problem, method: Search, trials: int) -> Found:
    """So many trials, one at a time."""
    scaled = problem.space if method.gradual else problem.classical
    plugin = tuners.get(method.tuner)
    given = {"scaled": method.scaled} if "scaled" in plugin.Args.model_fields else {}
    args = plugin.Args.model_validate({"optimize_mode": OptimizeMode.MAXIMIZE, **given})
    tuner = make_tuner(plugin, scaled if method.scaled else problem.raw, args, problem.seed)
    trials -= LEARNING if method.gradual else 0
    starts = method.first(problem.starts)
    reserved = min(problem.repeats * (problem.leaders + 1), trials // 2) if method.repeats else 0
    done: list[Trial] = []
    while len(done) < trials - reserved:
        number = len(done)
        if number < len(starts):
            proposal, origin = Proposal(starts[number].parameters), starts[number].name
        else:
            asked, origin = tuner.ask(number, History(done)), ""
            if asked is None:
                break
            proposal = asked
        done.append(_tried(problem, method, done, proposal, origin, None))
    while method.repeats and len(done) < trials:
        again = due(done, problem.leaders, problem.repeats, highest=True)
        if not again:
            break
        leader = again[0]
        done.append(_tried(problem, method, done, Proposal(leader.parameters), leader.origin, leader.number))
    found = _judged(done)
    return replace(found, values=[None] * LEARNING + list(found.values)) if method.gradual else found


def _tried(
    problem: Problem, method: Search, done: Sequence[Trial], proposal: Proposal, origin: str, repeat_of: int | None
) -> Trial:
    """The next trial. Where its allocation is an earlier one's, it has its result, unless it is a repeat."""
    number, key = len(done), problem.allocation(proposal.parameters, method.scaled)
    same = next((trial for trial in done if trial.metrics["allocation"] == key), None) if repeat_of is None else None
    tried = problem.trial(proposal.parameters, method.scaled, same.number if same else number)
    over = max(0.0, tried.used - problem.limit)
    metrics = {"default": tried.value, "over": over, "allocation": key, **({SAME_AS: same.number} if same else {})}
    return Trial(
        number,
        TrialState.SUCCEEDED,
        proposal.parameters,
        tried.value - (0 if method.scaled else PENALTY * over),
        metrics,
        tuner_state=proposal.state,
        known=number,
        finish_order=number,
        origin=origin,
        repeat_of=repeat_of,
    )


def _judged(done: Sequence[Trial]) -> Found:
    """By the rule of the product: where there are repeats, by them."""
    within = [trial for trial in done if trial.metrics["over"] <= WITHIN]
    best = standings(within or done, highest=True)[0].trial
    values: list[float | None] = []
    highest = -math.inf
    for trial in done:
        if trial.metrics["over"] <= WITHIN:
            highest = max(highest, trial.metrics["default"])
        values.append(highest if math.isfinite(highest) else None)
    return Found(best.parameters, bool(within), values)
