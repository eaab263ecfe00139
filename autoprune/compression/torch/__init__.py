"""Pruning and quantization for PyTorch: `from autoprune.compression.torch import LevelPruner`.

Algorithms resolve by name when they are first asked for: adding a file with a subclass of `Pruner` or `Quantizer`
adds one.
"""

from __future__ import annotations

from typing import Any

from autoprune.compression.torch import names as _names
from autoprune.compression.torch.configured import ConfigList as ConfigList
from autoprune.compression.torch.layers import LayerInfo as LayerInfo
from autoprune.compression.torch.layers import layer_sizes as layer_sizes
from autoprune.compression.torch.pruners.base import Masks as Masks
from autoprune.compression.torch.pruners.base import Pruner as Pruner
from autoprune.compression.torch.pruners.base import achieved_sparsity as achieved_sparsity
from autoprune.compression.torch.pruners.base import unwrap as unwrap
from autoprune.compression.torch.pruners.scheduled import ScheduledPruner as ScheduledPruner
from autoprune.compression.torch.quantizers.base import Quantizer as Quantizer
from autoprune.compression.torch.saving import Exported as Exported
from autoprune.compression.torch.saving import load_masks as load_masks
from autoprune.compression.torch.sparse_learning import CosineDecay as CosineDecay
from autoprune.compression.torch.sparse_learning import LinearDecay as LinearDecay
from autoprune.compression.torch.sparse_learning import Masking as Masking

_HERE = (
    "ConfigList", "CosineDecay", "Exported", "LayerInfo", "LinearDecay", "Masking", "Masks", "Pruner", "Quantizer",
    "ScheduledPruner", "achieved_sparsity", "layer_sizes", "load_masks", "unwrap",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no {name!r}")
    return _names.find(name)


def __dir__() -> list[str]:
    return sorted({*_HERE, *_names.algorithms()})
