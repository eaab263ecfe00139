"""Sparse momentum as users of the `sparse_learning` library write it: `Masking` steps the optimizer and the masks.

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    mask = Masking(optimizer, CosineDecay(0.5, len(loader) * epochs))
    mask.add_module(model, density=0.05)

Then `mask.step()` stands for `optimizer.step()`, and `mask.at_end_of_epoch()` moves weights.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from autoprune.compression.core.config_list import is_integer
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.pruners.sparse import SparsePruner
from autoprune.compression.torch.sparse_momentum import Rule, cosine_rate


class Decay(Protocol):
    """How the prune rate falls: `step` once for each batch, `get_dr` gives the rate of now."""

    def step(self) -> None: ...

    def get_dr(self, prune_rate: float) -> float: ...


class CosineDecay:
    """From `prune_rate` to `eta_min` in `T_max` steps, by the cosine."""

    def __init__(self, prune_rate: float, T_max: int, eta_min: float = 0.005) -> None:
        self._start, self._end, self._least, self._steps = prune_rate, _steps(T_max), eta_min, 0

    def step(self) -> None:
        self._steps += 1

    def get_dr(self, prune_rate: float | None = None) -> float:
        return cosine_rate(self._start, self._steps / self._end, self._least)


class LinearDecay:
    """From `prune_rate` to zero in `T_max` steps, by the same amount each."""

    def __init__(self, prune_rate: float, T_max: int) -> None:
        self._start, self._end, self._steps = prune_rate, _steps(T_max), 0

    def step(self) -> None:
        self._steps += 1

    def get_dr(self, prune_rate: float | None = None) -> float:
        return self._start * max(1 - self._steps / self._end, 0.0)


class Masking:
    """Trains modules sparsely, each with a `SparsePruner` that its optimizer's momentum leads.

    Weights move between the layers of one module. Without a decay, `prune_rate` stays.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        prune_rate_decay: Decay | None = None,
        prune_rate: float = 0.5,
        prune_mode: str = "magnitude",
        growth_mode: str = "momentum",
        redistribution_mode: str = "momentum",
        threshold: float = 1e-3,
    ) -> None:
        self.optimizer = optimizer
        self.prune_rate_decay = prune_rate_decay
        self.prune_rate = prune_rate if prune_rate_decay is None else prune_rate_decay.get_dr(prune_rate)
        self.pruners: list[SparsePruner] = []
        self._rule = Rule(prune_mode, growth_mode, redistribution_mode, threshold)

    def add_module(self, module: nn.Module, density: float = 0.05) -> None:
        """Make a module sparse: a share of the weights of each layer stays, chosen by chance."""
        pruner = SparsePruner(module, [{"density": density}], self.optimizer, **asdict(self._rule))
        pruner.compress()
        self.pruners.append(pruner)

    def step(self) -> None:
        """A step of the optimizer, after which the masks hold, and one of the decay."""
        self.optimizer.step()
        if self.prune_rate_decay is not None:
            self.prune_rate_decay.step()
            self.prune_rate = self.prune_rate_decay.get_dr(self.prune_rate)

    def at_end_of_epoch(self) -> None:
        """Move weights."""
        if not self.pruners:
            raise CompressionError("Masking.at_end_of_epoch: given no module; call add_module first")
        for pruner in self.pruners:
            pruner.move(self.prune_rate)


def _steps(given: int) -> int:
    if not is_integer(given) or given < 1:
        raise CompressionError(f"T_max: given {given!r}; expected a whole number of steps, 1 or more")
    return given
