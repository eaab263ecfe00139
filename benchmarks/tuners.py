"""How well each tuner searches: regret to a known optimum after 50, 100 and 200 trials, on functions with conditions.

    python benchmarks/tuners.py [--functions tree allocation] [--tuners TPE "TPE flatten"] [--seeds 10] [--trials 200]

`tree` is the synthetic function of Jenatton et al., "Bayesian Optimization with Tree-structured Dependencies", ICML
2017: two decisions lead to one of four leaves, the optimum is 0.1. `allocation` is this project's own task: a pruning
method and, inside its branch, a sparsity for each of 12 layers, where 80 % of all weights must go. Its formula is
below; its optimum is found by bisection on the Lagrange multiplier.

A tuner named with `flatten` after it searches the flattened space. Searches run in this process's children, two at a
time, one trial after the other, and cost nothing but the tuner's own time.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from autoprune.records import History, OptimizeMode, Parameters, Trial, TrialState
from autoprune.search_space import Space, space_from_plain
from autoprune.tuners import make_tuner, tuners

FLATTEN = " flatten"
CHECKPOINTS = (50, 100, 200)
JUDGED = 100
LEVEL = 0.05
WORKERS = 2


@dataclass(frozen=True)
class Function:
    """Something to minimise, with its least value."""

    space: Space
    value: Callable[[Parameters], float]
    optimum: float


@dataclass(frozen=True)
class Search:
    """The regret after each trial, and the mean processor seconds of an ask."""

    regrets: Sequence[float]
    seconds: float


# Jenatton et al. 2017


def uniform(low: float, high: float) -> dict[str, Any]:
    return {"_type": "uniform", "_value": [low, high]}


def choice(*options: Any) -> dict[str, Any]:
    return {"_type": "choice", "_value": list(options)}


TREE = {
    "x1": choice(
        {
            "_name": "0",
            "r8": uniform(0, 1),
            "x2": choice({"_name": "0", "x4": uniform(-1, 1)}, {"_name": "1", "x5": uniform(-1, 1)}),
        },
        {
            "_name": "1",
            "r9": uniform(0, 1),
            "x3": choice({"_name": "0", "x6": uniform(-1, 1)}, {"_name": "1", "x7": uniform(-1, 1)}),
        },
    )
}


def tree(parameters: Parameters) -> float:
    branch = parameters["x1"]
    if branch["_name"] == "0":
        leaf, shared = branch["x2"], branch["r8"]
        return float(shared + (leaf["x4"] ** 2 + 0.1 if leaf["_name"] == "0" else leaf["x5"] ** 2 + 0.2))
    leaf, shared = branch["x3"], branch["r9"]
    return float(shared + (leaf["x6"] ** 2 + 0.3 if leaf["_name"] == "0" else leaf["x7"] ** 2 + 0.4))


# Sparsity for each layer

LOW, HIGH, TARGET = 0.1, 0.99, 0.8
SIZES = (1, 4, 9, 18, 36, 72, 72, 144, 144, 144, 72, 5)
"""Thousands of weights of each layer."""
SENSITIVITIES = (0.16, 0.1, 0.12, 0.06, 0.09, 0.04, 0.06, 0.02, 0.05, 0.03, 0.04, 0.18)
METHODS = {"agp": 1.0, "level": 1.2, "l1": 1.6}
"""How many times the damage of the best method each does."""
DENSE, CHANCE = 93.0, 10.0
"""Accuracies in percent: of the whole network, and of guessing."""
PENALTY = 100.0
"""Points for all weights too few; so many that to miss the target never pays."""

ALLOCATION = {
    "prune_method": choice(
        *({"_name": name, **{f"conv{layer}": uniform(LOW, HIGH) for layer in range(len(SIZES))}} for name in METHODS)
    )
}


def damage(sparsities: Iterable[float]) -> float:
    """What pruning does to a network, without bound as nothing is left of a layer."""
    return math.fsum(a * s / (1 - s) for a, s in zip(SENSITIVITIES, sparsities, strict=True))


def lost(damage: float) -> float:
    """Points of accuracy: one for one at first, in the end down to guessing."""
    return (DENSE - CHANCE) * -math.expm1(-damage / (DENSE - CHANCE))


def total(sparsities: Iterable[float]) -> float:
    """The share of all weights that goes."""
    return math.fsum(size * s for size, s in zip(SIZES, sparsities, strict=True)) / sum(SIZES)


def allocation(parameters: Parameters) -> float:
    method = parameters["prune_method"]
    sparsities = [method[f"conv{layer}"] for layer in range(len(SIZES))]
    return lost(METHODS[method["_name"]] * damage(sparsities)) + PENALTY * max(0.0, TARGET - total(sparsities))


def best_allocation() -> list[float]:
    """The least damage that meets the target: each layer's marginal damage per weight is the same."""

    def at(multiplier: float) -> list[float]:
        free = (1 - math.sqrt(a / (multiplier * size)) for a, size in zip(SENSITIVITIES, SIZES, strict=True))
        return [min(max(s, LOW), HIGH) for s in free]

    low, high = 1e-9, 1e9
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if total(at(middle)) < TARGET else (low, middle)
    return at(high)


FUNCTIONS = {
    "tree": Function(space_from_plain(TREE), tree, 0.1),
    "allocation": Function(space_from_plain(ALLOCATION), allocation, lost(damage(best_allocation()))),
}


# Searching


def variants() -> list[str]:
    """Random and every tuner that learns, also flattened where it can be told to."""
    names = ["Random"]
    for name in tuners.names():
        plugin = tuners.get(name)
        if plugin.learns:
            names += [name, name + FLATTEN] if "flatten" in plugin.Args.model_fields else [name]
    return names


def search(variant: str, function_name: str, seed: int, trials: int) -> Search:
    """One search from a seed, one trial at a time."""
    function, plugin = FUNCTIONS[function_name], tuners.get(variant.removesuffix(FLATTEN))
    flatten = {"flatten": True} if variant.endswith(FLATTEN) else {}
    args = plugin.Args.model_validate({"optimize_mode": OptimizeMode.MINIMIZE, **flatten})
    tuner = make_tuner(plugin, function.space, args, seed)
    finished: list[Trial] = []
    regrets: list[float] = []
    seconds = 0.0
    for number in range(trials):
        began = time.process_time()
        proposal = tuner.ask(number, History(finished))
        seconds += time.process_time() - began
        if proposal is None:
            raise SystemExit(f"{variant} has no trial {number} to propose for {function_name}")
        value = function.value(proposal.parameters)
        regrets.append(min(value - function.optimum, regrets[-1] if regrets else math.inf))
        known = {"tuner_state": proposal.state, "known": number, "finish_order": number}
        finished.append(Trial(number, TrialState.SUCCEEDED, proposal.parameters, value, {"default": value}, **known))
    return Search(regrets, seconds / trials)


def searches(
    variants: Sequence[str], functions: Sequence[str], seeds: int, trials: int
) -> dict[tuple[str, str], list[Search]]:
    """All searches by function and tuner, in the order of seeds."""
    tasks = [(variant, name, seed, trials) for seed in range(seeds) for name in functions for variant in variants]
    found: dict[tuple[str, str, int], Search] = {}
    with ProcessPoolExecutor(WORKERS) as pool:
        futures = {pool.submit(search, *task): task[:3] for task in tasks}
        for future in as_completed(futures):
            variant, name, seed = futures[future]
            result = found[name, variant, seed] = future.result()
            figures = ", ".join(f"{result.regrets[count - 1]:.3g}" for count in checkpoints(trials))
            count = f"{len(found)}/{len(tasks)}"
            print(f"{count} {name}, {variant}, seed {seed}: {figures}", file=sys.stderr, flush=True)
    return {
        (name, variant): [found[name, variant, seed] for seed in range(seeds)]
        for name in functions
        for variant in variants
    }


# What is printed


def checkpoints(trials: int) -> list[int]:
    """The numbers of trials after which regrets are printed."""
    return sorted({*(count for count in CHECKPOINTS if count < trials), trials})


def table(found: Mapping[str, Sequence[Search]], trials: int) -> str:
    """A markdown table of one function: a row for each tuner."""
    judged = min(JUDGED, trials)
    counts = " | ".join(f"after {count}" for count in checkpoints(trials))
    lines = [
        f"| tuner | {counts} | against Random after {judged} | CPU ms per ask |",
        f"|---{'|---:' * len(checkpoints(trials))}|---|---:|",
    ]
    for variant, results in found.items():
        figures = [spread([result.regrets[count - 1] for result in results]) for count in checkpoints(trials)]
        verdict = "" if variant == "Random" else against(results, found["Random"], judged)
        milliseconds = 1000 * statistics.mean(result.seconds for result in results)
        lines.append(f"| {' | '.join([variant, *figures, verdict, f'{milliseconds:.1f}'])} |")
    return "\n".join(lines)


def spread(regrets: Sequence[float]) -> str:
    """The median, with the quartiles in brackets."""
    low, middle, high = statistics.quantiles(regrets, n=4, method="inclusive")
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def against(results: Sequence[Search], random: Sequence[Search], count: int) -> str:
    """How often a tuner's regret is below Random's of the same seed, and whether that can be chance (sign test)."""
    pairs = [(one.regrets[count - 1], other.regrets[count - 1]) for one, other in zip(results, random, strict=True)]
    wins, losses = sum(one < other for one, other in pairs), sum(one > other for one, other in pairs)

    def chance(at_least: int) -> float:
        return math.fsum(
            math.comb(wins + losses, k) * 0.5 ** (wins + losses) for k in range(at_least, wins + losses + 1)
        )

    word = "ahead" if chance(wins) < LEVEL else "behind" if chance(losses) < LEVEL else "not ahead"
    return f"{word}: better in {wins} of {len(pairs)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", nargs="+", choices=list(FUNCTIONS), default=list(FUNCTIONS))
    parser.add_argument("--tuners", nargs="+", help='by default Random and all that learn; "TPE flatten" is one, too')
    parser.add_argument("--seeds", type=int, default=10, help="searches of each tuner on each function; at least 2")
    parser.add_argument("--trials", type=int, default=CHECKPOINTS[-1])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    asked = list(dict.fromkeys(["Random", *(options.tuners or variants())]))
    found = searches(asked, options.functions, options.seeds, options.trials)
    for name in options.functions:
        least = f"{FUNCTIONS[name].optimum:.4g}"
        print(f"\n{name}: regret to the optimum of {least}, median of {options.seeds} seeds (and quartiles)\n")
        print(table({variant: found[name, variant] for variant in asked}, options.trials))


if __name__ == "__main__":
    main()
