"""The rule of sparse momentum: which weights go, how many each layer gets in their place, and where they grow.

T. Dettmers and L. Zettlemoyer, "Sparse networks from scratch", 2019. It is apart from the pruner because it needs
no config_list and no masks: it looks at layers and gives the masks that come next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoprune.compression.core.config_list import is_number
from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.core.selection import Array, NotANumber, smallest

FILLED = 0.99
"""The share of a layer's zeros that may grow at once, unless the weights fit nowhere else."""


@dataclass(frozen=True)
class SparseLayer:
    """A layer as the rule sees it: its weights, which of them are in use, and who trains them."""

    called: str
    weight: nn.Parameter
    keep: Tensor
    optimizer: Optimizer | None = None

    @property
    def magnitude(self) -> Tensor:
        return self.weight.detach().abs()

    @property
    def gradient(self) -> Tensor:
        if self.weight.grad is None:
            raise CompressionError(
                f"layer {self.called}: given no gradient to grow by; expected that of the last batch "
                "(call update_epoch after training, before zero_grad)"
            )
        return self.weight.grad.detach().abs()

    @cached_property
    def momentum(self) -> Tensor:
        """The size of SGD's momentum, or of Adam's m / (sqrt(v) + 1e-8)."""
        state: Mapping[str, Tensor] = {} if self.optimizer is None else self.optimizer.state.get(self.weight, {})
        if "exp_avg" in state and "exp_avg_sq" in state:
            return (state["exp_avg"] / (state["exp_avg_sq"].sqrt() + 1e-8)).abs()
        if (momentum := state.get("momentum_buffer")) is not None:
            return momentum.abs()
        raise CompressionError(
            f"layer {self.called}: given no momentum from {type(self.optimizer).__name__}; expected SGD with momentum "
            "or Adam that has trained the layer (call update_epoch after an epoch; exclude layers that do not train)"
        )


@dataclass(frozen=True)
class Rule:
    """What is removed, where weights grow, and by what layers share them; `threshold` is of one way to remove."""

    prune_mode: str = "magnitude"
    growth: str = "momentum"
    redistribution: str = "momentum"
    threshold: float = 1e-3

    def __post_init__(self) -> None:
        _known("prune_mode", self.prune_mode, PRUNE_MODES)
        _known("growth", self.growth, GROWTH_MODES)
        _known("redistribution", self.redistribution, REDISTRIBUTION_MODES)
        if not is_number(self.threshold) or not self.threshold >= 0:
            raise CompressionError(f"threshold: given {self.threshold!r}; expected a number, 0 or more")

    @property
    def needs_momentum(self) -> bool:
        return "momentum" in (self.growth, self.redistribution)


def moved(layers: Sequence[SparseLayer], prune_rate: float, rule: Rule) -> list[Tensor]:
    """The masks after one update: as many weights in all, in other places."""
    shares = [_share(layer, rule) for layer in layers]
    removed = [PRUNE_MODES[rule.prune_mode](layer, prune_rate, rule.threshold) for layer in layers]
    zeros = [~layer.keep | gone for layer, gone in zip(layers, removed, strict=True)]
    counts = [int(gone.sum()) for gone in removed]
    if rule.redistribution != "none":
        counts = divide(sum(counts), shares, [int(places.sum()) for places in zeros])
    grow = GROWTH_MODES[rule.growth]
    grown = [
        _lowest(layer, -grow(layer), count, places) for layer, count, places in zip(layers, counts, zeros, strict=True)
    ]
    return [~places | new for places, new in zip(zeros, grown, strict=True)]


def divide(total: int, shares: Sequence[float], zeros: Sequence[int]) -> list[int]:
    """How many weights grow in each layer: by its share, and what a full layer cannot take goes to the others."""
    counts = _filled(total, shares, [pruned_count(places, FILLED) for places in zeros])
    room = [places - count for places, count in zip(zeros, counts, strict=True)]
    rest = _filled(total - sum(counts), room, room)
    return [count + more for count, more in zip(counts, rest, strict=True)]


def cosine_rate(prune_rate: float, progress: float, least: float = 0.0) -> float:
    """A prune rate that falls to `least`, by the cosine, as the training progresses from 0 to 1."""
    return least + (prune_rate - least) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def _filled(total: int, shares: Sequence[float], caps: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to the shares, none above its cap; where no share is left, by what is free."""
    counts, free, left = list(caps), [index for index, cap in enumerate(caps) if cap], min(total, sum(caps))
    while free:
        weighing = shares if any(shares[index] for index in free) else caps
        largest = max(weighing[index] for index in free)
        open_shares = {index: weighing[index] / largest for index in free}
        scale = left / math.fsum(open_shares.values())
        full = [index for index in free if open_shares[index] * scale >= caps[index]]
        if not full:
            return _whole(counts, {index: share * scale for index, share in open_shares.items()}, left)
        free = [index for index in free if index not in full]
        left -= sum(caps[index] for index in full)
    return counts


def _whole(counts: list[int], amounts: Mapping[int, float], total: int) -> list[int]:
    """Floors, then one each by largest fraction while any is left."""
    for index, amount in amounts.items():
        counts[index] = math.floor(amount)
    left = total - sum(counts[index] for index in amounts)
    for index in sorted(amounts, key=lambda index: counts[index] - amounts[index])[:left]:
        counts[index] += 1
    return counts


def _share(layer: SparseLayer, rule: Rule) -> float:
    if rule.redistribution == "none" or not bool(layer.keep.any()):
        return 0.0
    share = REDISTRIBUTION_MODES[rule.redistribution](layer)
    if not math.isfinite(share):
        raise _not_a_number(layer)
    return share


def _remove_smallest(layer: SparseLayer, prune_rate: float, threshold: float) -> Tensor:
    return _lowest(layer, layer.magnitude, pruned_count(int(layer.keep.sum()), prune_rate), layer.keep)


def _remove_by_sign(layer: SparseLayer, prune_rate: float, threshold: float) -> Tensor:
    """Sparse evolutionary training: the same share of the positive and of the negative weights, nearest to zero."""
    negative = layer.keep & (layer.weight.detach() < 0)
    below = pruned_count(int(negative.sum()), prune_rate)
    above = pruned_count(int(layer.keep.sum()), prune_rate) - below
    gone = _lowest(layer, layer.magnitude, below, negative)
    return gone | _lowest(layer, layer.magnitude, above, layer.keep & ~negative)


def _remove_below(layer: SparseLayer, prune_rate: float, threshold: float) -> Tensor:
    """What is below a threshold, whatever the rate, but never the whole layer."""
    magnitude = layer.magnitude
    below = int((layer.keep & (magnitude < threshold)).sum())
    return _lowest(layer, magnitude, min(below, int(layer.keep.sum()) - 1), layer.keep)


PRUNE_MODES: Mapping[str, Callable[[SparseLayer, float, float], Tensor]] = {
    "magnitude": _remove_smallest,
    "SET": _remove_by_sign,
    "threshold": _remove_below,
}
GROWTH_MODES: Mapping[str, Callable[[SparseLayer], Tensor]] = {
    "momentum": lambda layer: layer.momentum,
    "gradient": lambda layer: layer.gradient,
    "random": lambda layer: torch.rand(layer.weight.shape, device=layer.weight.device),
}
REDISTRIBUTION_MODES: Mapping[str, Callable[[SparseLayer], float]] = {
    "momentum": lambda layer: float(layer.momentum[layer.keep].double().mean()),
    "magnitude": lambda layer: float(layer.magnitude[layer.keep].double().mean()),
    "nonzero": lambda layer: float(layer.keep.sum()),
    "none": lambda layer: 0.0,
}


def _lowest(layer: SparseLayer, scores: Tensor, count: int, among: Tensor) -> Tensor:
    """Mark the smallest scores among some places of a layer."""
    exact = torch.float64 if scores.dtype == torch.float64 else torch.float32
    values = scores.to("cpu", exact).reshape(-1).numpy()
    try:
        marks = smallest([Array(values)], count, [among.cpu().reshape(-1).numpy()])[0]
    except NotANumber:
        raise _not_a_number(layer) from None
    return torch.from_numpy(marks).view(layer.weight.shape).to(layer.weight.device)


def _not_a_number(layer: SparseLayer) -> CompressionError:
    return CompressionError(
        f"layer {layer.called}: given weights or momentum that are not finite; expected numbers "
        "(has the training diverged?)"
    )


def _known(what: str, given: str, valid: Collection[str]) -> None:
    if given not in valid:
        raise CompressionError(f"{what}: given {given!r}; expected a mode ({remedy(str(given), valid)})")
