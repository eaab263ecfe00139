"""What LeNet-300-100 keeps on Fashion-MNIST: pruned, as a lottery ticket, sparse from the start, and quantised.

    python benchmarks/fashion_mnist.py [--seeds 5] [--workers 2] [--folder PATH] [--quick]

Every claim stands beside its rival, trained for as many epochs under the same seed. Learning rates were chosen on
5,000 of the training images, with a seed that is not among these; the 10,000 test images are read once for each
network, when it is done. An epoch takes about two seconds of one core, and a seed some 80 of them.

--quick takes scikit-learn's digits: it shows in a minute that all of it runs, and says nothing about the claims.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments" / "fashion-mnist"))

import data
from nets import LeNet300
from training import BATCH, evaluate, train_epoch

from autoprune.compression.torch import (
    AGPPruner,
    DoReFaQuantizer,
    LevelPruner,
    LotteryTicketPruner,
    QATQuantizer,
    SparsePruner,
    load_masks,
)

LONG, SHORT, ROUND = 8, 4, 3
"""Epochs from random weights, after the dense network, and in each round of a lottery."""
MOVES = 5
"""How often masks move in an epoch: every 110 steps."""
ROUNDS = 5
LAYERS = {"op_types": ["default"]}


@dataclass(frozen=True)
class Outcome:
    """Test accuracy in percent, and the mean loss of each epoch."""

    accuracy: float
    losses: Sequence[float]


@dataclass(frozen=True)
class Claim:
    """Our accuracy is more than `margin` points above the rival's; where there is no rival, our loss falls."""

    text: str
    ours: str
    rival: str | None = None
    margin: float = 0.0

    def lead(self, outcomes: Mapping[str, Outcome]) -> float:
        ours = outcomes[self.ours]
        if self.rival is None:
            return ours.losses[0] - ours.losses[-1]
        return ours.accuracy - outcomes[self.rival].accuracy


DENSE, DENSE_SGD = f"dense, {LONG} epochs of Adam", f"dense, {LONG} epochs of SGD"
AGP, LEVEL = "AGP, 95 % of each layer", "level, 95 % of each layer"
LEVEL_SAME_RATE = "level, 95 % of each layer, learning rate of AGP"
ROUND_0, TICKET = f"dense, {ROUND} epochs", "lottery ticket, 80 %"
CHANCE = "the ticket's masks, new random weights"
SPARSE = "SparsePruner, 5 % of the weights throughout"
FLOAT, QAT, DOREFA = f"dense, {SHORT} epochs more", "QAT, 8 bits", "DoReFa, 2 bits"

CLAIMS = (
    Claim("AGP is ahead of level", AGP, LEVEL),
    Claim("AGP is ahead of level with the learning rate of AGP", AGP, LEVEL_SAME_RATE),
    Claim("tickets are ahead of new random weights", TICKET, CHANCE),
    Claim("sparse training is within 1.5 points of dense, both by SGD", SPARSE, DENSE_SGD, -1.5),
    Claim("sparse training is within 1.5 points of dense by Adam", SPARSE, DENSE, -1.5),
    Claim("QAT with 8 bits is within 2 points of float", QAT, FLOAT, -2.0),
    Claim("the loss falls in QAT", QAT),
    Claim("the loss falls in DoReFa", DOREFA),
)

Outcomes: TypeAlias = dict[str, Outcome]


@dataclass(frozen=True)
class Bench:
    """One seed and the data."""

    seed: int
    train: data.Part
    test: data.Part
    batch: int

    def fresh(self, salt: int = 0) -> nn.Module:
        torch.manual_seed(1000 * salt + self.seed)
        return LeNet300()

    def fit(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        epochs: int,
        schedule: LRScheduler | None = None,
        move: Callable[[int], object] | None = None,
    ) -> Outcome:
        """Train, with `move(1)`, `move(2)` ... MOVES times an epoch where it is given; then read the test images."""
        images, labels = self.train
        losses = []
        for epoch in range(epochs):
            parts = torch.randperm(len(labels)).chunk(MOVES if move else 1)
            stretches = []
            for number, part in enumerate(parts, start=1):
                stretches.append(train_epoch(model, optimizer, (images[part], labels[part]), self.batch))
                if move:
                    move(epoch * MOVES + number)
            losses.append(statistics.mean(stretches))
            if schedule:
                schedule.step()
        return Outcome(100 * evaluate(model, self.test), losses)


def dense(bench: Bench) -> tuple[nn.Module, Outcome]:
    """The network that pruning and quantization start from."""
    model = bench.fresh()
    optimizer = Adam(model.parameters(), lr=2e-3)
    return model, bench.fit(model, optimizer, LONG, CosineAnnealingLR(optimizer, LONG))


def go_on(
    bench: Bench, trained: nn.Module, change: Callable[[nn.Module], Callable[[int], object] | None], rate: float
) -> Outcome:
    """The dense network, changed, and trained for SHORT epochs more; `change` may give what moves masks."""
    torch.manual_seed(bench.seed)
    model = copy.deepcopy(trained)
    move = change(model)
    return bench.fit(model, Adam(model.parameters(), lr=rate), SHORT, move=move)


def gradual(bench: Bench, trained: nn.Module) -> Outcomes:
    """The same sparsity at once, and growing over three of the four epochs."""

    def level(model: nn.Module) -> None:
        LevelPruner(model, [{"sparsity": 0.95, **LAYERS}]).compress()

    def agp(model: nn.Module) -> Callable[[int], object]:
        span = {"initial_sparsity": 0, "final_sparsity": 0.95, "end_epoch": (SHORT - 1) * MOVES}
        pruner = AGPPruner(model, [{**span, **LAYERS}])
        pruner.compress()
        return pruner.update_epoch

    return {
        LEVEL: go_on(bench, trained, level, 8e-3),
        LEVEL_SAME_RATE: go_on(bench, trained, level, 2e-3),
        AGP: go_on(bench, trained, agp, 2e-3),
    }


def tickets(bench: Bench) -> Outcomes:
    """The last round's ticket, and the same connections with other weights to start from."""
    model = bench.fresh()
    optimizer = Adam(model.parameters(), lr=2e-3)
    pruner = LotteryTicketPruner(model, [{"prune_iterations": ROUNDS, "sparsity": 0.8, **LAYERS}], optimizer)
    pruner.compress()
    rounds = []
    for _ in pruner.get_prune_iterations():
        pruner.prune_iteration_start()
        rounds.append(bench.fit(model, optimizer, ROUND))
    other = bench.fresh(salt=1)
    load_masks(other, pruner.masks)
    chance = bench.fit(other, Adam(other.parameters(), lr=2e-3), ROUND)
    return {ROUND_0: rounds[0], TICKET: rounds[-1], CHANCE: chance}


def sparse_training(bench: Bench) -> Outcomes:
    """As in the paper, by SGD with momentum; weights stop moving after three quarters of the training."""

    def train(*, sparse: bool) -> Outcome:
        model = bench.fresh()
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        schedule = CosineAnnealingLR(optimizer, LONG)
        if not sparse:
            return bench.fit(model, optimizer, LONG, schedule)
        last = LONG * MOVES * 3 // 4
        pruner = SparsePruner(model, [{"density": 0.05, **LAYERS}], optimizer, epochs=last)
        pruner.compress()

        def move(number: int) -> None:
            if number < last:
                pruner.update_epoch(number)

        return bench.fit(model, optimizer, LONG, schedule, move)

    return {DENSE_SGD: train(sparse=False), SPARSE: train(sparse=True)}


def quantization(bench: Bench, trained: nn.Module) -> Outcomes:
    """Weights and outputs of all layers in 8 bits; all weights and the hidden layers' outputs in 2."""

    def qat(model: nn.Module) -> None:
        QATQuantizer(model, [{"quant_types": ["weight", "output"], "quant_bits": 8, **LAYERS}]).compress()

    def dorefa(model: nn.Module) -> None:
        hidden = {"quant_types": ["weight", "output"], "quant_bits": 2, "op_names": ["fc1", "fc2"]}
        last = {"quant_types": ["weight"], "quant_bits": 2, "op_names": ["fc3"]}
        DoReFaQuantizer(model, [hidden, last]).compress()

    return {
        FLOAT: go_on(bench, trained, lambda model: None, 3e-4),
        QAT: go_on(bench, trained, qat, 3e-4),
        DOREFA: go_on(bench, trained, dorefa, 1e-4),
    }


def measure(seed: int, source: str, folder: str | None) -> Outcomes:
    """Everything under one seed."""
    torch.set_num_threads(1)
    bench = Bench(seed, data.load("train", source, folder), data.load("test", source, folder), BATCH[source])
    trained, outcome = dense(bench)
    pruned, quantised = gradual(bench, trained), quantization(bench, trained)
    return {DENSE: outcome, **pruned, **tickets(bench), **sparse_training(bench), **quantised}


def networks(found: Sequence[Outcomes]) -> str:
    """A row for each network."""
    lines = ["| network | test accuracy, % | loss, first and last epoch |", "|---|---:|---:|"]
    for name in found[0]:
        each = [outcomes[name] for outcomes in found]
        first, last = (statistics.mean(one.losses[index] for one in each) for index in (0, -1))
        lines.append(f"| {name} | {spread([one.accuracy for one in each])} | {first:.3f}, {last:.3f} |")
    return "\n".join(lines)


def claims(found: Sequence[Outcomes]) -> str:
    """A row for each claim."""
    lines = ["| claim | lead | in how many seeds | |", "|---|---:|---:|---|"]
    for claim in CLAIMS:
        leads = [claim.lead(outcomes) for outcomes in found]
        count = sum(lead > claim.margin for lead in leads)
        holds = statistics.mean(leads) > claim.margin
        verdict = "holds" if count == len(leads) else "holds on average" if holds else "does not hold"
        lines.append(f"| {claim.text} | {spread(leads, sign=True)} | {count} of {len(leads)} | {verdict} |")
    return "\n".join(lines)


def spread(values: Sequence[float], *, sign: bool = False) -> str:
    """The mean and the standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{'+' if sign else ''}.2f} ± {deviation:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=None, help="default 5, or 2 with --quick")
    parser.add_argument("--workers", type=int, default=2, help="seeds at a time, one thread each; default 2")
    parser.add_argument("--folder", help="where Fashion-MNIST is, if not where its package puts it")
    parser.add_argument("--quick", action="store_true", help="digits in place of Fashion-MNIST")
    options = parser.parse_args()
    source, seeds = ("digits", options.seeds or 2) if options.quick else ("fashion-mnist", options.seeds or 5)
    try:
        data.load("validation", source, options.folder)
    except data.DataError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)
    found: dict[int, Outcomes] = {}
    begun = time.monotonic()
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(measure, seed, source, options.folder): seed for seed in range(seeds)}
        for future in as_completed(running):
            found[running[future]] = future.result()
            print(f"{len(found)} of {seeds} seeds, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    each = [found[seed] for seed in sorted(found)]
    print(f"LeNet-300-100 on {source}, {seeds} seeds: mean and standard deviation\n\n{networks(each)}\n")
    print(f"lead: points of test accuracy, or of the loss; in every seed by itself\n\n{claims(each)}")


if __name__ == "__main__":
    main()
