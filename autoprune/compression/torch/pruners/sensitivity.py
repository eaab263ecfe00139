"""Pruning by the spread of each layer.

S. Han et al., "Learning both weights and connections for efficient neural networks", 2015: the threshold of a layer is
a quality times the standard deviation of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.compression.core.allocations.uniform import Uniform
from autoprune.compression.core.config_list import Entry, Key, Target, integer_key, is_number, sparsity_key
from autoprune.compression.core.formulas import agp_sparsity, sparsity_of
from autoprune.compression.torch.choosing import Budget
from autoprune.compression.torch.layers import LayerInfo, layer_info
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.errors import Problem


class SensitivityPruner(Pruner):
    """Prunes |w| < q * std(layer), with the one q for all layers of an entry that prunes `sparsity` of their weights.

    `quality` gives q itself. With `end_epoch` the sparsity grows from `start_epoch` on, as in AGP, when
    `update_epoch` is called; a quality is applied anew at every call.
    """

    keys = (
        sparsity_key("sparsity", spellings=("sparsity_per_layer", "total_sparsity")),
        Key("quality", "a number above 0", lambda value: is_number(value) and value > 0, instead_of="sparsity"),
        integer_key("start_epoch", least=0, default=0),
        integer_key("end_epoch", least=0, default=0),
        integer_key("frequency", least=1, default=1),
    )
    allocation = "global"

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        std = _std(weight)
        magnitude = wide(weight).abs()
        return magnitude / std if std > 0 else torch.full_like(magnitude, float("inf"))

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        schedule = (settings["start_epoch"], settings["end_epoch"], settings["frequency"])
        return agp_sparsity(epoch, 0.0, settings.get("sparsity", 0.0), *schedule)

    def budgets(self, model: nn.Module, entry: Entry, targets: Sequence[Target]) -> list[Budget]:
        if "quality" not in entry.settings:
            return super().budgets(model, entry, targets)
        shares = [_share_below(layer_info(model, target).weight, entry.settings["quality"]) for target in targets]
        return [Budget([target], share, share, Uniform()) for target, share in zip(targets, shares, strict=True)]

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        problems = []
        start, end = settings["start_epoch"], settings["end_epoch"]
        if end < start:
            problems.append(Problem(f"{where}.end_epoch", repr(end), f"start_epoch, {start}, or later"))
        for name in ("granularity", "allocation", "max_sparsity_per_layer"):
            if "quality" in settings and settings.get(name, "element") != "element":
                problems.append(Problem(where, f"quality with {name}", "one of them: a quality says which weights go"))
        return problems


def _std(weight: Tensor) -> Tensor:
    return wide(weight).std(correction=0)


def _share_below(weight: Tensor, quality: float) -> float:
    """As the rule has it, but for the last weight of a layer, which stays."""
    value = wide(weight.detach())
    below = int((value.abs() < quality * _std(value)).sum())
    return sparsity_of(max(min(below, value.numel() - 1), 0), value.numel())
