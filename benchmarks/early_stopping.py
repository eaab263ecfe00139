"""What each assessor saves and what it costs, on synthetic learning curves.

    python benchmarks/early_stopping.py [--seeds 10] [--trials 100] [--steps 27]

Every trial has an end drawn from a normal distribution, and rises to it from a height and at a speed that are drawn
too, every other one by a power of the step, the others in an S; so early results tell little. Each result has noise.
Four trials run at a time, one step after the other. Printed are means over the seeds: the steps that were run, as a
part of those without an assessor, and the regret, which is how much worse the best trial that was run to its end is
than the best there was; its largest value; and for comparison the regret of no assessor and as many steps, which are
fewer trials.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Mapping, Sequence

from autoprune.assessors import Assessor, Curve, assessors

SLOTS = 4
LEVEL, SPREAD, NOISE = 0.85, 0.05, 0.01
ASSESSORS: Sequence[tuple[str, Mapping[str, object]]] = (
    ("Medianstop", {}),
    ("Medianstop", {"start_step": 5}),
    ("Asha", {"max_resource": 27}),
    ("Asha", {"max_resource": 27, "reduction_factor": 3, "min_resource": 3}),
    ("Hyperband", {"max_resource": 27}),
    ("Curvefitting", {"epoch_num": 27}),
    ("Curvefitting", {"epoch_num": 27, "threshold": 0.99}),
    ("Threshold", {"lower": 0.75, "start_step": 5}),
)


def early(step: int, power: float) -> float:
    """What is left to rise, of 1; most is risen at once."""
    return float(step**-power)


def late(step: int, power: float) -> float:
    """An S, steepest around step 5."""
    return 1 / (1 + math.exp((step - 5) * power / 2))


def draw(seed: int, trials: int, steps: int) -> list[list[float]]:
    """The whole curve of each trial; its end, without noise, comes last."""
    random_ = random.Random(seed)
    curves = []
    for number in range(trials):
        end, height, power = random_.gauss(LEVEL, SPREAD), random_.uniform(0.2, 0.8), random_.uniform(0.4, 1.6)
        shape = late if number % 2 else early
        rise = [end - height * (shape(step, power) - shape(steps, power)) for step in range(1, steps + 1)]
        curves.append([value + random_.gauss(0, NOISE) for value in rise] + [end])
    return curves


def search(whole: Sequence[Sequence[float]], assessor: Assessor) -> tuple[int, float]:
    """The steps that were run, and the end of the best trial that was not stopped."""
    waiting, running, steps = list(range(len(whole))), list[int](), 0
    seen: dict[int, list[float]] = {}
    completed: dict[int, float] = {}

    def curve(number: int) -> Curve:
        return Curve(number, seen[number], number in completed)

    while waiting or running:
        while waiting and len(running) < SLOTS:
            running.append(waiting.pop(0))
            seen[running[-1]] = []
        for number in list(running):
            *results, end = whole[number]
            seen[number].append(results[len(seen[number])])
            steps += 1
            others = [curve(other) for other in sorted(seen) if other != number]
            if len(seen[number]) == len(results):
                completed[number] = end
                running.remove(number)
            elif assessor.judge(curve(number), others).stop:
                running.remove(number)
    return steps, max(completed.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--steps", type=int, default=27)
    options = parser.parse_args()
    print(f"{'assessor':60} steps run  regret  largest  as many steps without")
    for name, args in ASSESSORS:
        plugin = assessors.get(name)
        assessor = plugin(plugin.Args.model_validate(args))
        parts, regrets, without = [], [], []
        for seed in range(options.seeds):
            whole = draw(seed, options.trials, options.steps)
            ends = [curve[-1] for curve in whole]
            steps, best = search(whole, assessor)
            parts.append(steps / (options.trials * options.steps))
            regrets.append(max(ends) - best)
            without.append(max(ends) - max(ends[: steps // options.steps]))
        label = f"{name} {', '.join(f'{key} {value}' for key, value in args.items())}"
        found = f"{statistics.mean(regrets):.4f}   {max(regrets):.4f}  {statistics.mean(without):.4f}"
        print(f"{label:60} {statistics.mean(parts):8.0%}   {found}", flush=True)


if __name__ == "__main__":
    main()
