"""What the algorithms are for: a small network trained on scikit-learn's digits keeps most of its accuracy.

Every comparison is of means over seeds, and asks for a third or less of the lead that was measured.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from autoprune.compression.torch import (
    AGPPruner,
    DoReFaQuantizer,
    LevelPruner,
    LotteryTicketPruner,
    QATQuantizer,
    SparsePruner,
    load_masks,
)

SEEDS = range(3)
TRAINED = 1200
LAYERS = {"op_types": ["default"]}


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(data.data, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order]


def fresh(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    after: Callable[[int], object] | None = None,
    stretches: int = 1,
) -> list[float]:
    """Train; `after` hears the number of each stretch, so many an epoch. Gives the mean loss of each epoch."""
    images, labels = digits()
    losses = []
    for epoch in range(epochs):
        seen: list[float] = []
        for number, stretch in enumerate(torch.randperm(TRAINED).chunk(stretches), start=1):
            for batch in stretch.split(40):
                optimizer.zero_grad()
                loss = cross_entropy(model(images[batch]), labels[batch])
                torch.autograd.backward(loss)
                optimizer.step()
                seen.append(loss.item())
            if after is not None:
                after(epoch * stretches + number)
        losses.append(statistics.mean(seen))
    return losses


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """In percent, of the images that nobody trains on."""
    images, labels = (values[TRAINED:] for values in digits())
    return 100 * (model(images).argmax(1) == labels).float().mean().item()


@cache
def dense(seed: int) -> nn.Module:
    model = fresh(seed)
    fit(model, Adam(model.parameters(), lr=3e-3), 12)
    return model


def copy_of_dense(seed: int) -> nn.Module:
    model = copy.deepcopy(dense(seed))
    torch.manual_seed(seed)
    return model


def nonzero(model: nn.Module) -> int:
    return sum(int(weight.count_nonzero()) for weight in model.parameters() if weight.dim() > 1)


def test_pruning_gradually_beats_pruning_at_once() -> None:
    """97 % of each layer; 13 points were measured."""
    leads = []
    for seed in SEEDS:
        once = copy_of_dense(seed)
        LevelPruner(once, [{"sparsity": 0.97, **LAYERS}]).compress()
        fit(once, Adam(once.parameters(), lr=5e-3), 10)
        gradually = copy_of_dense(seed)
        pruner = AGPPruner(gradually, [{"initial_sparsity": 0, "final_sparsity": 0.97, "end_epoch": 15, **LAYERS}])
        pruner.compress()
        fit(gradually, Adam(gradually.parameters(), lr=5e-3), 10, pruner.update_epoch, stretches=3)
        assert nonzero(gradually) == nonzero(once)
        leads.append(accuracy(gradually) - accuracy(once))
    assert statistics.mean(leads) > 4


def test_a_ticket_trains_better_from_its_own_weights_than_from_others() -> None:
    """80 % in three rounds; 12 points were measured."""
    leads = []
    for seed in SEEDS:
        model = fresh(seed)
        optimizer = Adam(model.parameters(), lr=3e-3)
        pruner = LotteryTicketPruner(model, [{"prune_iterations": 3, "sparsity": 0.8, **LAYERS}], optimizer)
        pruner.compress()
        for _ in pruner.get_prune_iterations():
            pruner.prune_iteration_start()
            ticket = fit(model, optimizer, 3)
        other = fresh(seed + 100)
        load_masks(other, pruner.masks)
        chance = fit(other, Adam(other.parameters(), lr=3e-3), 3)
        assert nonzero(other) == nonzero(model)
        assert ticket[-1] < chance[-1]
        leads.append(accuracy(model) - accuracy(other))
    assert statistics.mean(leads) > 4


def test_sparse_training_comes_near_to_dense_training() -> None:
    """10 % of the weights throughout, as many epochs; 1.5 points behind were measured."""
    gaps = []
    for seed in SEEDS:
        whole = fresh(seed)
        fit(whole, Adam(whole.parameters(), lr=5e-3), 15)
        model = fresh(seed)
        optimizer = Adam(model.parameters(), lr=5e-3)
        pruner = SparsePruner(model, [{"density": 0.1, **LAYERS}], optimizer, epochs=15)
        pruner.compress()

        def move(epoch: int, pruner: SparsePruner = pruner) -> None:
            if epoch < 15:
                pruner.update_epoch(epoch)

        losses = fit(model, optimizer, 15, move)
        assert nonzero(model) <= 820 + 820 + 64
        assert losses[-1] < losses[0] / 4
        gaps.append(accuracy(whole) - accuracy(model))
    assert statistics.mean(gaps) < 4


def test_eight_bits_cost_next_to_nothing() -> None:
    """Trained quantised from the start, beside float; no difference was measured."""
    gaps = []
    for seed in SEEDS:
        model = fresh(seed)
        QATQuantizer(model, [{"quant_types": ["weight", "output"], "quant_bits": 8, **LAYERS}]).compress()
        losses = fit(model, Adam(model.parameters(), lr=3e-3), 12)
        assert losses[-1] < losses[0] / 10
        model.eval()
        gaps.append(accuracy(dense(seed)) - accuracy(model))
    assert statistics.mean(gaps) < 2


def test_two_bits_learn() -> None:
    """DoReFa's weights in 2 bits; 96 % and a loss of less than a tenth were measured."""
    model = copy_of_dense(0)
    DoReFaQuantizer(model, [{"quant_types": ["weight"], "quant_bits": 2, **LAYERS}]).compress()
    losses = fit(model, Adam(model.parameters(), lr=3e-4), 8)
    assert losses[-1] < losses[0] / 3
    assert accuracy(model) > 88
