"""How good the allocations are that `autoprune run` finds, beside those of other searches and of rules.

    python benchmarks/search.py --out search.jsonl [--networks resnet8 ...] [--methods auto TPE+penalty ...]
                                [--seeds 5] [--trials 40] [--refits 3] [--plots FOLDER]

Each seed has a dense network, searches and refits of its own. Every search has as many trials, repeats included, and a
trial costs the same. What a method finds is brought exactly to the budget, trained anew from the dense network with
fresh seeds, and tested; test images choose nothing. A figure is the mean over the seeds and its standard error. A lead
is the mean of the differences under the same seed. What a search without scaling finds may use less than the budget;
then it is given what is left, in proportion. Where it has found nothing within the budget, its best is brought there.

Methods are told by their names, see `searching/methods.py`; `auto` is short for what `autoprune run` does, and
`heuristics` for all starting points. `allocation` is a function with noise and a known optimum instead of a network.

Everything that is trained is kept in --out, a line each: a run that was stopped goes on there, and one that has ended
prints its tables again. FastNAS runs where --fastnas-python names a Python that has it (`searching/fastnas.py`).
Fashion-MNIST comes from Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
from searching.memo import Memo
from searching.methods import BY_HAND, FASTNAS, OURS, Search, rule_of, search
from searching.networks import NETWORKS, Network
from searching.peers import fastnas
from searching.problems import Function, Options, Problem
from searching.summary import Outcome, curve, noise, table
from searching.svg import chart

from autoprune.errors import did_you_mean
from autoprune.lifeline import die_with_parent
from autoprune.search.heuristics import heuristics

PROBLEMS = (*NETWORKS, Function.name)
DEFAULT = (
    "auto",
    "auto+scaling+starts+repeats",
    "TPE+penalty",
    "TPE+scaling",
    "HyperoptTPE+penalty",
    "Anneal+penalty",
    "Random+scaling",
    "GP+scaling",
    "SimulatedAnnealing+scaling+uniform",
    "NetAdapt+scaling+uniform",
    "heuristics",
    "lamp x2",
    "erk x2",
    BY_HAND,
    FASTNAS,
)
SHORT = ("auto", "heuristics", BY_HAND, FASTNAS)
TWICE = " x2"
"""Ends the name of a starting point that is trained twice as long."""
REFIT = 1_000_000
"""The number of the first refit: its seed is no trial's."""


@dataclass(frozen=True)
class Bench:
    """How every method is tried. Processes get a copy, and keep what they have made of it."""

    options: Options
    out: Path
    trials: int
    refits: int

    def problem(self, name: str, seed: int) -> Problem:
        return problem_of(self, name, seed)

    def outcome(self, name: str, seed: int, method: str) -> Outcome:
        """Search, then train what was found anew, and test it."""
        problem, numbers = self.problem(name, seed), range(REFIT, REFIT + self.refits)
        if method == FASTNAS:
            assert isinstance(problem, Network)
            assert self.options.fastnas_python is not None
            make = partial(fastnas, problem, self.options.fastnas_python, self.options.work)
            return Outcome(method, seed, [problem.refit_of(FASTNAS, make, number) for number in numbers])
        known = {point.name: point.parameters for point in problem.starts}
        rule = method.removesuffix(TWICE)
        if rule in known:
            times = 1 if rule == method else 2
            return Outcome(method, seed, [problem.refit(known[rule], number, times) for number in numbers])
        found = search(problem, Search.of(method), self.trials)
        refits = [problem.refit(found.parameters, number) for number in numbers]
        return Outcome(method, seed, refits, found.values, found.met)

    def methods(self, name: str, seed: int, asked: Sequence[str]) -> list[str]:
        """Those of the asked ones that there are for a problem, spelt out."""
        problem = self.problem(name, seed)
        rules = [point.name for point in problem.starts if point.name != BY_HAND]
        found = []
        for method in asked:
            if method == "heuristics":
                found += rules
            elif method == "auto":
                found.append(OURS)
            elif method == FASTNAS:
                structured = isinstance(problem, Network) and problem.budget["kind"] == "macs"
                found += [FASTNAS] if structured and self.options.fastnas_python else []
            elif "+" in method:
                found.append(method)
            else:
                twice = TWICE if method.endswith(TWICE) else ""
                rule = method.removesuffix(TWICE)
                found += [f"{point.name}{twice}" for point in problem.starts if rule_of(point.name) == rule]
        return list(dict.fromkeys(found))


@cache
def problem_of(bench: Bench, name: str, seed: int) -> Problem:
    return Function(seed) if name == Function.name else Network(name, seed, bench.options, Memo(bench.out))


def alone(parent: int) -> None:
    """A process has one core, and ends when the benchmark is killed."""
    die_with_parent(parent)
    torch.set_num_threads(1)


def all_outcomes(
    bench: Bench, networks: Sequence[str], seeds: int, asked: Sequence[str], workers: int
) -> dict[str, list[Outcome]]:
    """By problem, in the order in which they were found."""
    found: dict[str, list[Outcome]] = {name: [] for name in networks}
    with ProcessPoolExecutor(workers, get_context("spawn"), alone, (os.getpid(),)) as pool:
        try:
            pairs = [(name, seed) for seed in range(seeds) for name in networks]
            studied = {pool.submit(bench.methods, *pair, asked): pair for pair in pairs}
            jobs = {
                pool.submit(bench.outcome, *studied[done], method): (*studied[done], method)
                for done in as_completed(studied)
                for method in done.result()
            }
            for number, done in enumerate(as_completed(jobs), start=1):
                name, seed, method = jobs[done]
                found[name].append(done.result())
                told = f"{number}/{len(jobs)} {name}, seed {seed}, {method}: {done.result().test:.2f}"
                print(told, file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def by_method(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    grouped: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda one: (one.seed, one.method)):
        grouped.setdefault(outcome.method, []).append(outcome)
    return grouped


def show(bench: Bench, name: str, outcomes: Mapping[str, Sequence[Outcome]], seeds: int, plots: Path | None) -> None:
    problems = [bench.problem(name, seed) for seed in range(seeds)]
    dense = fmean(problem.dense for problem in problems)
    print(f"\n## {name}: {problems[0].limit:.4%} of the dense network, which has {dense:.2f}; {seeds} seeds\n")
    print(table(outcomes, OURS))
    print(f"\nThe standard deviation of one refit is {noise(outcomes):.2f}.")
    if name == Function.name:
        print(f"The optimum is {Function.optimum():.2f}, and a trial's noise {Function.noise}.")
    if plots is not None:
        curves = {method: curve(own) for method, own in outcomes.items() if own[0].values is not None}
        levels = {
            method: fmean(refit.value for one in own for refit in one.refits)
            for method, own in outcomes.items()
            if own[0].values is None
        }
        plots.mkdir(parents=True, exist_ok=True)
        title = f"{name}: the best validation accuracy so far within the budget, mean of {seeds} seeds"
        (plots / f"{name}.svg").write_text(chart(title, curves, levels, "trials"), encoding="utf-8")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="what is known, as JSON lines; a run goes on there")
    parser.add_argument("--networks", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT), help=f"by default {', '.join(DEFAULT)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40, help="of each search, repeats included; default 40")
    parser.add_argument("--refits", type=int, default=3, help="fresh trainings of what was found; default 3")
    parser.add_argument("--pruners", nargs="+", help="to choose from, in place of those of the experiments")
    parser.add_argument("--images", type=int, help="that train, in place of 12,000")
    parser.add_argument("--epochs", type=int, help="of each trial, in place of one")
    parser.add_argument("--prepare-epochs", type=int, help="of the dense networks, in place of ten")
    parser.add_argument("--data", help="digits shows that all of it runs, without a data set")
    parser.add_argument("--fastnas-python", help="a Python that has NVIDIA Model Optimizer")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plots", type=Path, help="a folder for a chart of each problem")
    options = parser.parse_args()
    for method in options.methods:
        if "+" in method:
            Search.of(method)
        elif method not in SHORT and rule_of(method.removesuffix(TWICE)) not in heuristics.names():
            parser.error(f"given the method {method}; expected {did_you_mean(method, [*SHORT, *heuristics.names()])}")
    return options


def main() -> None:
    given = parsed()
    os.environ["OMP_NUM_THREADS"] = "1"
    pruners = tuple(given.pruners) if given.pruners else None
    out = given.out.resolve()
    options = Options(
        out.with_suffix(".work"),
        given.images,
        given.data,
        given.prepare_epochs,
        given.epochs,
        pruners,
        given.fastnas_python,
    )
    bench = Bench(options, out, given.trials, given.refits)
    found = all_outcomes(bench, given.networks, given.seeds, given.methods, given.workers)
    print(f"{given.trials} trials, {given.refits} refits of what each method found under each seed")
    for name, outcomes in found.items():
        show(bench, name, by_method(outcomes), given.seeds, given.plots)


if __name__ == "__main__":
    main()
