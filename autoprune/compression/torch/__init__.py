"""Pruning and quantization for PyTorch: `from autoprune.compression.torch import LevelPruner`.

Algorithms resolve by name when they are first asked for: adding a file with a subclass of `Pruner` or `Quantizer`
adds one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoprune.compression.reporting import report as report
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

if TYPE_CHECKING:  # for editors and type checkers; what is not named here is found all the same
    from autoprune.compression.torch.compact.compaction import Compaction as Compaction
    from autoprune.compression.torch.compact.files import load_compact as load_compact
    from autoprune.compression.torch.compact.files import save_compact as save_compact
    from autoprune.compression.torch.compact.speedup import compaction as compaction
    from autoprune.compression.torch.compact.speedup import complete_masks as complete_masks
    from autoprune.compression.torch.compact.speedup import speedup as speedup
    from autoprune.compression.torch.exporting import export_onnx as export_onnx
    from autoprune.compression.torch.exporting import export_program as export_program
    from autoprune.compression.torch.pruners.activation_apoz import ActivationAPoZRankPruner as ActivationAPoZRankPruner
    from autoprune.compression.torch.pruners.activation_mean import ActivationMeanRankPruner as ActivationMeanRankPruner
    from autoprune.compression.torch.pruners.admm import ADMMPruner as ADMMPruner
    from autoprune.compression.torch.pruners.agp import AGPPruner as AGPPruner
    from autoprune.compression.torch.pruners.fisher import FisherPruner as FisherPruner
    from autoprune.compression.torch.pruners.fpgm import FPGMPruner as FPGMPruner
    from autoprune.compression.torch.pruners.l1_norm import L1NormPruner as L1NormPruner
    from autoprune.compression.torch.pruners.l2_norm import L2NormPruner as L2NormPruner
    from autoprune.compression.torch.pruners.lamp import LAMPPruner as LAMPPruner
    from autoprune.compression.torch.pruners.level import LevelPruner as LevelPruner
    from autoprune.compression.torch.pruners.lottery_ticket import LotteryTicketPruner as LotteryTicketPruner
    from autoprune.compression.torch.pruners.movement import MovementPruner as MovementPruner
    from autoprune.compression.torch.pruners.nm import NMPruner as NMPruner
    from autoprune.compression.torch.pruners.random import RandomPruner as RandomPruner
    from autoprune.compression.torch.pruners.scores import ScoresPruner as ScoresPruner
    from autoprune.compression.torch.pruners.sensitivity import SensitivityPruner as SensitivityPruner
    from autoprune.compression.torch.pruners.slim import SlimPruner as SlimPruner
    from autoprune.compression.torch.pruners.sparse import SparsePruner as SparsePruner
    from autoprune.compression.torch.pruners.taylor import TaylorFOWeightPruner as TaylorFOWeightPruner
    from autoprune.compression.torch.pruners.wanda import WandaPruner as WandaPruner
    from autoprune.compression.torch.quantizers.dorefa import DoReFaQuantizer as DoReFaQuantizer
    from autoprune.compression.torch.quantizers.naive import NaiveQuantizer as NaiveQuantizer
    from autoprune.compression.torch.quantizers.qat import QATQuantizer as QATQuantizer
    from autoprune.compression.torch.recalibrating import recalibrate_batchnorm as recalibrate_batchnorm
    from autoprune.compression.torch.sparse_kernels import SparseReport as SparseReport
    from autoprune.compression.torch.sparse_kernels import sparse_report as sparse_report
    from autoprune.compression.torch.sparse_kernels import to_sparse as to_sparse

    ActivationAPoZRankFilterPruner = ActivationAPoZRankPruner
    ActivationMeanRankFilterPruner = ActivationMeanRankPruner
    AGP_Pruner = AGPruner = AGPPruner
    L1FilterPruner = L1NormPruner
    L2FilterPruner = L2NormPruner
    TaylorFOWeightFilterPruner = TaylorFOWeightPruner
    QAT_Quantizer = QATquantizer = QATQuantizer

_HERE = (
    "ConfigList", "CosineDecay", "Exported", "LayerInfo", "LinearDecay", "Masking", "Masks", "Pruner", "Quantizer",
    "ScheduledPruner", "achieved_sparsity", "layer_sizes", "load_masks", "report", "unwrap",
)  # fmt: skip

_LATER = {
    "Compaction": "compact.compaction",
    "SparseReport": "sparse_kernels",
    "compaction": "compact.speedup",
    "complete_masks": "compact.speedup",
    "export_onnx": "exporting",
    "export_program": "exporting",
    "load_compact": "compact.files",
    "recalibrate_batchnorm": "recalibrating",
    "save_compact": "compact.files",
    "sparse_report": "sparse_kernels",
    "speedup": "compact.speedup",
    "to_sparse": "sparse_kernels",
}
"""What imports more than pruning needs."""


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no {name!r}")
    return _names.find(name)


def __dir__() -> list[str]:
    return sorted({*_HERE, *_LATER, *_names.algorithms(), *_names.outside()})
