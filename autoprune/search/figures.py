"""What a pruned model has left: over all, and layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from autoprune.compression.command.subject import cost_of
from autoprune.compression.core.formulas import sparsity_of
from autoprune.compression.cost import Cost
from autoprune.compression.torch import named_masks
from autoprune.compression.torch.layers import filters_first
from autoprune.records import JSON
from autoprune.search.job import Allocation
from autoprune.search.scaling import Kind


@dataclass(frozen=True)
class Size:
    """What there is of a layer; weights that are masked are not there."""

    filters: int
    weights: int

    def counted(self, kind: Kind) -> int:
        """In what goes with pruners of this kind."""
        return self.filters if kind == "filters" else self.weights


Sizes = Mapping[str, Size]
"""By layer."""


def sizes_of(model: nn.Module, layers: Iterable[str]) -> dict[str, Size]:
    """The sizes of these layers of a model, whole, masked or smaller."""
    kept = {mask.layer: int(mask.keep.count_nonzero()) for mask in named_masks.carried(model) if _is_weight(mask)}
    sizes = {}
    for name in layers:
        layer = model.get_submodule(name)
        weight = layer.get_parameter("weight")
        sizes[name] = Size(len(filters_first(layer, weight)), kept.get(name, weight.numel()))
    return sizes


def share_gone(before: Sizes, after: Sizes) -> float:
    """Of the weights of all these layers."""
    whole = sum(size.weights for size in before.values())
    return sparsity_of(whole - sum(size.weights for size in after.values()), whole)


def by_layer(allocation: Allocation, before: Sizes, after: Sizes) -> dict[str, dict[str, JSON]]:
    """Of each layer, the share that was to go once the parameters were scaled, the one that is gone, and how many
    weights or filters are kept, of how many."""
    kind = allocation.kind
    pairs = {name: (after[name].counted(kind), size.counted(kind)) for name, size in before.items()}
    return {
        name: {
            "requested": allocation.sparsities[name],
            "sparsity": sparsity_of(whole - kept, whole),
            "kept": kept,
            "of": whole,
        }
        for name, (kept, whole) in pairs.items()
    }


def figures(before: Sizes, model: nn.Module, example: Any) -> dict[str, JSON]:
    """What the final result of a trial says beside what `evaluate` does.

    `parameters` are those that are not zero, `macs` those of one forward of the example, `bytes` the size of the file,
    zeros and all. `sparsity` is the share of the weights of all searched layers that is gone.
    """
    cost: Cost = cost_of(model, example, latency=False)
    return {
        "parameters": cost.nonzeros,
        "macs": cost.macs,
        "bytes": cost.dense_bytes,
        "sparsity": share_gone(before, sizes_of(model, before)),
    }


def _is_weight(mask: named_masks.NamedMask) -> bool:
    return mask.parameter == "weight"
