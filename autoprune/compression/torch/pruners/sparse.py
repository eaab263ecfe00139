"""Sparse training: a network that is sparse from the start, whose weights move to where the training wants them.

T. Dettmers and L. Zettlemoyer, "Sparse networks from scratch: faster training without losing performance", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoprune.compression.core.config_list import Key, Target, is_integer, is_number, sparsity_key
from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.core.formulas import sparsity_of
from autoprune.compression.torch import masking
from autoprune.compression.torch.choosing import Budget
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.masking import Masked, Request, Vote
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.sparse_momentum import Rule, SparseLayer, cosine_rate, moved
from autoprune.errors import Problem


class SparsePruner(Pruner):
    """Starts at a `density`, by chance, and moves weights at each `update_epoch`; their number stays what it was.

    An update removes `prune_rate` of each layer's weights, the smallest, and grows as many in all: more in layers
    with a large momentum, where the momentum of absent weights is largest. With `epochs`, the rate falls to zero over
    them by the cosine. The momentum is read from `optimizer`, so the gradients of absent weights are not masked.
    """

    grows = True
    keys = (
        sparsity_key("sparsity", spellings=("sparsity_per_layer",)),
        Key(
            "density",
            "a number above 0, up to 1: the share of weights in use",
            lambda value: is_number(value) and 0 < value <= 1,
            instead_of="sparsity",
        ),
    )

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        optimizer: Optimizer | None = None,
        *,
        prune_rate: float = 0.5,
        epochs: int | None = None,
        prune_mode: str = "magnitude",
        growth: str = "momentum",
        redistribution: str = "momentum",
        threshold: float = 1e-3,
        **settings: Any,
    ) -> None:
        self.rule = Rule(prune_mode, growth, redistribution, threshold)
        self.optimizer = optimizer
        self.prune_rate, self.epochs = _rate(prune_rate), epochs
        if epochs is not None and not (is_integer(epochs) and epochs >= 1):
            raise CompressionError(f"epochs: given {epochs!r}; expected a whole number, 1 or more, or None")
        if settings.get("dummy_input") is not None:
            raise CompressionError(
                f"{self._called}: given a dummy_input; expected none, because weights come back to any channel "
                "(speedup(model, None, example_input) removes those that are gone in the end)"
            )
        super().__init__(model, config_list, **settings)
        self._check_optimizer()

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        """By chance, as torch.manual_seed has it: nothing is known of a weight at the start."""
        return torch.rand(weight.shape, device=weight.device)

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        value: float = 1 - settings["density"] if "density" in settings else settings["sparsity"]
        return value

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        return [
            Problem(f"{where}.{name}", repr(settings[name]), f"no {name}: single weights move, from layer to layer")
            for name, usual in (("granularity", "element"), ("max_sparsity_per_layer", None))
            if settings.get(name, usual) != usual
        ]

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        if self.optimizer is None:
            return
        trained = {id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]}
        for layer in layers:
            if id(layer.weight) not in trained:
                raise CompressionError(
                    f"{self._called}: given an optimizer that does not train layer {layer.called}; expected one that "
                    "holds the weights of all layers to prune (exclude those that do not train)"
                )

    def update_epoch(self, epoch: int) -> None:
        """Move weights: call it when an epoch is done, `update_epoch(epoch + 1)`."""
        super().update_epoch(epoch)
        progress = 0.0 if self.epochs is None else self._epoch / self.epochs
        self.move(cosine_rate(self.prune_rate, progress))

    @torch.no_grad()
    def move(self, prune_rate: float) -> None:
        """Remove this share of the weights of each layer, and grow as many in all."""
        self._check_compressed("move")
        found = [self._held(target) for target in self._targets]
        layers = [layer for layer, _ in found]
        keeps = moved(layers, _rate(prune_rate), self.rule)
        size = sum(keep.numel() for keep in keeps)
        sparsity = sparsity_of(size - sum(int(keep.sum()) for keep in keeps), size)
        request = Request(self._called, sparsity, sparsity, pooled=len(keeps) > 1)
        for (layer, held), keep in zip(found, keeps, strict=True):
            held.set_vote(self._owner, Vote(keep, request, self.grows))
            layer.weight.masked_fill_(keep & ~layer.keep, 0)

    def _budgets(self) -> list[Budget]:
        """None once the network is sparse: from then on its layers share one number of weights, and trade them."""
        return [] if self._compressed else super()._budgets()

    def _held(self, target: Target) -> tuple[SparseLayer, Masked]:
        info = self.info(target)
        held = masking.attach(info.module, info.parameter)
        keep = held.vote(self._owner)
        assert keep is not None
        return SparseLayer(info.called, info.weight, keep, self.optimizer), held

    def _check_optimizer(self) -> None:
        if self.optimizer is None and not self.rule.needs_momentum:
            return
        if not isinstance(self.optimizer, Optimizer):
            raise CompressionError(
                f"{self._called}: given {shown(self.optimizer)} as optimizer; expected the optimizer "
                "that trains the model, whose momentum says where weights grow"
            )
        without = all(group.get("momentum") == 0 and "betas" not in group for group in self.optimizer.param_groups)
        if self.rule.needs_momentum and without:
            raise CompressionError(
                f"{self._called}: given {type(self.optimizer).__name__} without momentum; expected SGD with momentum "
                "or Adam, or growth='gradient' and redistribution='magnitude', which need none"
            )


def _rate(given: float) -> float:
    if not is_number(given) or not 0 <= given < 1:
        raise CompressionError(f"prune_rate: given {given!r}; expected a number from 0 up to but not 1")
    return given
