"""`autoprune compress`: build, prune, remove, recalibrate, save, and measure before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.compression.command.choosing import Choice, check, choose
from autoprune.compression.command.subject import Subject, cost_of, load, tell
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.cost import Cost, compare
from autoprune.compression.torch import named_masks, saving
from autoprune.compression.torch.compact.files import save_compact
from autoprune.compression.torch.compact.speedup import compaction, speedup
from autoprune.compression.torch.exporting import export_onnx
from autoprune.compression.torch.layers import BATCH_NORMS, filters_first
from autoprune.compression.torch.named_masks import NamedMask
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.recalibrating import recalibrate_batchnorm

_FURTHER = "it is of a smaller model, which a script prunes further: load_compact(build, FILE), then a pruner"


@dataclass(frozen=True)
class Request:
    """What the command line asks for: how to prune what, where to write it, and how to measure it."""

    subject: Mapping[str, Any]
    choice: Choice
    out: str
    onnx: str | None
    recalibrate: bool
    batch_sizes: Sequence[int]

    def measure(self, model: nn.Module, example: Any) -> Cost:
        return cost_of(model, example, self.batch_sizes)


def run(*, choice: Mapping[str, Any], **rest: Any) -> dict[str, Any]:
    """The answer to a request of the command line."""
    request = Request(choice=Choice(**choice), **rest)
    kind = check(request.choice)
    given = load(**request.subject, if_compact=_FURTHER)
    chosen = choose(kind, request.choice, given)
    tell("measures the model as it is")
    before = request.measure(given.model, given.example)
    tell(f"prunes with {kind.__name__}")
    chosen.pruner.compress()
    pruned = [mask for mask in named_masks.carried(given.model) if not mask.keep.all()]
    if not pruned:
        raise CompressionError(_masks_nothing(request.choice, kind))
    single = not any(map(_by_filter, pruned))
    after, answer = (_masked if single else _compact)(request, given)
    asked = {"model": given.called, "pruner": kind.__name__, "requested": request.choice.sparsity}
    return {**asked, **answer, "left_alone": dict(chosen.left_alone), **compare(before, after).to_dict()}


def _compact(request: Request, given: Subject) -> tuple[Cost, dict[str, Any]]:
    """Really smaller: a file with a plan, which `load_compact` reads."""
    tell("removes what is pruned")
    small = speedup(given.model, None, given.example, inexact=request.choice.inexact)
    recalibrated = request.recalibrate and given.batches is not None and _has_statistics(small)
    if recalibrated:
        tell("recalibrates BatchNorm")
        recalibrate_batchnorm(small, given.batches or (), limit=request.choice.batches)
    exported: tuple[Path, ...] = ()
    if request.onnx is not None:
        tell("exports ONNX")
        exported = export_onnx(small, request.onnx, given.example).files
    files = [str(each) for each in (save_compact(small, request.out), *exported)]
    tell("measures what is left")
    return request.measure(small, given.example), {
        "kind": "compact",
        "filters": list(_filters(given.model, small)),
        "compaction": compaction(small).to_dict(),
        "recalibrated": recalibrated,
        "files": files,
    }


def _masked(request: Request, given: Subject) -> tuple[Cost, dict[str, Any]]:
    """Single weights are zero, and nothing is smaller: weights for the plain model, and masks beside them."""
    if request.onnx is not None:
        raise CompressionError(
            f"--onnx: given {request.choice.pruner}, which leaves the model as large as it is; expected --out alone"
        )
    written = saving.export(given.model, request.out)
    tell("measures what is left")
    return request.measure(given.model, given.example), {
        "kind": "masked",
        "filters": [],
        "compaction": None,
        "recalibrated": False,
        "files": [str(written.weights), str(written.masks)],
    }


def _masks_nothing(choice: Choice, kind: type[Pruner]) -> str:
    given = f"--sparsity: given {choice.sparsity}" if choice.config is None else f"--config: given {choice.config!r}"
    smallest = "filter" if kind.granularity == "filter" else "weight"
    rounding = ", or lower --round-to" if choice.round_to is not None else ""
    return f"{given}, at which {kind.__name__} masks no {smallest} at all; expected more (raise the sparsity{rounding})"


def _by_filter(mask: NamedMask) -> bool:
    """Whether a layer has lost whole filters, and not single weights: filters of one weight do not tell."""
    if isinstance(mask.module, BATCH_NORMS):
        return True
    rows = filters_first(mask.module, mask.keep)
    rows = rows.reshape(len(rows), -1)
    return rows.shape[1] > 1 and bool((rows.any(1) == rows.all(1)).all())


def _filters(model: nn.Module, small: nn.Module) -> Iterator[dict[str, Any]]:
    """Each layer that was to lose filters: how many it had, and has."""
    for mask in named_masks.carried(model):
        asked = [request for request in mask.requests if request.sparsity is not None]
        if asked and mask.parameter == "weight":
            yield {
                "layer": mask.layer,
                "requested": max(request.sparsity or 0.0 for request in asked),
                "pooled": any(request.pooled for request in asked),
                "before": _count(mask.module),
                "after": _count(small.get_submodule(mask.layer)),
            }


def _count(layer: nn.Module) -> int:
    return len(filters_first(layer, layer.get_parameter("weight")))


def _has_statistics(model: nn.Module) -> bool:
    return any(isinstance(module, BATCH_NORMS) and module.running_mean is not None for module in model.modules())
