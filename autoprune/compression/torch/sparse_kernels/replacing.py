"""Each Linear with enough zeros is timed against its sparse kernels, and the ones that gain are replaced in a copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.torch.copying import plain_copy
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.layers import COMPILED, holders, uncalled
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.sparse_kernels.kernels import Kernel, kernels_for
from autoprune.compression.torch.sparse_kernels.record import SparseReport, SparseRow
from autoprune.compression.torch.sparse_kernels.timing import Seen, as_in_use, inputs_seen, one_row, side_by_side

LEAST_SPARSITY = 0.3
"""A layer with fewer zeros is not tried. With each kept weight goes an index of 4 bytes, so that CSR of float32 has
less to read than dense from 50 % zeros on; MKL was measured to break even at 40 % at the earliest."""

_RECORD = "_autoprune_sparse_report"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def to_sparse(model: nn.Module, example_input: Any = None, *, margin: float = 1.1, repeats: int = 30) -> nn.Module:
    """A copy of a pruned model for inference, in which every Linear that gains by it computes without its zeros.

    Each Linear is timed with the inputs that it sees when the model runs `example_input`: a tensor, a tuple of
    arguments or a dict of keyword arguments. One is replaced when it is at least `margin` times as fast, by the
    medians of so many `repeats`. Without `example_input`, each is timed with one random row, and the whole model is
    not timed. `sparse_report` of the copy has all figures.

    The copy is in eval mode, without masks, and shares no memory with the given model, which stays as it is.
    """
    _check(model, margin, repeats)
    with as_in_use(model):
        rows, sparse = _tried(model, example_input, margin, repeats)
        copied = _copied(model, sparse).eval()
        device = next((each.device for each in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        report = SparseReport(rows, device.type, torch.get_num_threads(), margin)
        if sparse and example_input is not None:
            runs = (lambda: call(model, example_input)), (lambda: call(copied, example_input))
            dense_ms, sparse_ms = side_by_side(*runs, repeats, device)
            report = replace(report, dense_ms=dense_ms, sparse_ms=sparse_ms)
    copied.__dict__[_RECORD] = report
    return copied


def sparse_report(model: nn.Module) -> SparseReport:
    """What `to_sparse` tried when it made this model."""
    report = getattr(model, "__dict__", {}).get(_RECORD)
    if not isinstance(report, SparseReport):
        raise CompressionError(f"sparse_report: given a {type(model).__name__}; expected a model that to_sparse made")
    return report


def _tried(
    model: nn.Module, example_input: Any, margin: float, repeats: int
) -> tuple[tuple[SparseRow, ...], dict[nn.Linear, nn.Module]]:
    """A row for each Linear, and what takes the place of those that gain."""
    layers = {module: name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    obstacles = _obstacles(model)
    rows = {layer: _row(layer, name, obstacles.get(layer, "")) for layer, name in layers.items()}
    candidates = [layer for layer, row in rows.items() if row.replaced]
    if example_input is None:
        seen = {layer: one_row(layer) for layer in candidates}
    else:
        seen = inputs_seen(model, example_input, candidates)
    sparse: dict[nn.Linear, nn.Module] = {}
    for layer in candidates:
        rows[layer], module = _timed(layer, rows[layer], seen[layer], margin, repeats)
        if module is not None:
            sparse[layer] = module
    return tuple(rows.values()), sparse


def _row(layer: nn.Linear, name: str, obstacle: str) -> SparseRow:
    weight = layer.weight
    if isinstance(weight, UninitializedParameter):
        raise CompressionError(
            f"to_sparse: given a model whose layer {name!r} has no weights yet; expected initialised layers (run the "
            "model once on a batch)"
        )
    if weight.is_meta:
        raise CompressionError(f"to_sparse: given a weight without values in {name!r} (meta); expected loaded weights")
    zeros = 1 - int(weight.count_nonzero()) / weight.numel() if weight.numel() else 0.0
    few = f"fewer than {LEAST_SPARSITY:.0%} zeros" if zeros < LEAST_SPARSITY else ""
    return SparseRow(name, (layer.out_features, layer.in_features), zeros, reason=obstacle or few)


def _timed(
    layer: nn.Linear, row: SparseRow, seen: list[Seen], margin: float, repeats: int
) -> tuple[SparseRow, nn.Module | None]:
    """The row with the figures of its fastest kernel, and that kernel where it gains enough."""
    if not seen:
        return replace(row, reason="example_input never calls it"), None
    row = replace(row, inputs=tuple(tuple(each.input.shape) for each in seen))
    tries = [_try(layer, row, name, kernel, seen, repeats) for name, kernel in kernels_for(layer.weight).items()]
    best, module = max(tries, key=lambda each: each[0].ratio or 0)
    if module is None or best.ratio is None:
        return best, None
    if best.ratio < margin:
        gain = "is not faster" if best.ratio <= 1 else f"gains less than {margin:g}x"
        return replace(best, reason=f"{best.kernel} {gain}"), None
    return best, module


def _try(
    layer: nn.Linear, row: SparseRow, name: str, kernel: Kernel, seen: list[Seen], repeats: int
) -> tuple[SparseRow, nn.Module | None]:
    """The row with the figures of one kernel; without them and with the reason where it can not be used."""
    try:
        module = kernel(layer.weight, layer.bias).eval()
        if not (off := _difference(layer, module, seen[0].input)) <= _tolerance(layer.weight.dtype):
            return replace(row, reason=f"{name} computes something else, {off:.1g} off"), None
        dense_ms = sparse_ms = 0.0
        for each in seen:
            runs = (lambda each=each: layer(each.input)), (lambda each=each: module(each.input))
            times = side_by_side(*runs, repeats, layer.weight.device)
            dense_ms, sparse_ms = dense_ms + each.calls * times[0], sparse_ms + each.calls * times[1]
    except (RuntimeError, CompressionError) as error:
        return replace(row, reason=f"no {name} here: {str(error).splitlines()[0]}"), None
    return replace(row, kernel=name, dense_ms=dense_ms, sparse_ms=sparse_ms), module


def _difference(layer: nn.Module, module: nn.Module, given: Tensor) -> float:
    """The largest difference of their outputs, as a part of the largest output."""
    dense, sparse = wide(layer(given)), wide(module(given))
    if dense.numel() == 0:
        return 0.0
    scale, off = float(dense.abs().max()), float((dense - sparse).abs().max())
    return off / scale if scale else off


def _tolerance(dtype: torch.dtype) -> float:
    """Sums in another order differ by far less than this, and wrong sums by far more."""
    return float(torch.finfo(dtype).eps ** 0.5)


def _obstacles(model: nn.Module) -> dict[nn.Module, str]:
    """Why a Linear can not be replaced, for those that can not."""
    sharing, inside = holders(model), uncalled(model)
    found: dict[nn.Module, str] = {}
    for parent in model.modules():
        if isinstance(parent, nn.TransformerEncoderLayer) and getattr(parent.self_attn, "batch_first", True):
            found |= dict.fromkeys(parent.children(), "the encoder layer's fast path reads its weight itself")
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and (reason := _obstacle(layer, id(layer) in inside, sharing)):
            found[layer] = reason
    return found


def _obstacle(layer: nn.Linear, inside: bool, sharing: dict[int, list[tuple[nn.Module, str]]]) -> str:
    weight = layer._parameters.get("weight")
    if inside:
        return "attention reads its weight itself"
    if parametrize.is_parametrized(layer):
        return "parametrized (remove_parametrizations gives the weight back)"
    if type(layer) is not nn.Linear or "forward" in vars(layer):
        return f"a {type(layer).__name__} with a forward of its own"
    if weight is None:
        return "its weight is computed from others"
    if not weight.is_floating_point():
        return f"its weight is of {weight.dtype}"
    if len(sharing[id(weight)]) > 1:
        return "shares its weight with another layer"
    if any(getattr(layer, hooks) for hooks in _HOOKS):
        return "has hooks, which would be lost"
    return ""


def _copied(model: nn.Module, sparse: dict[nn.Linear, nn.Module]) -> nn.Module:
    instead: dict[int, Any] = {id(layer): module for layer, module in sparse.items()}
    try:
        return plain_copy(model, instead)
    except (RuntimeError, TypeError) as error:
        raise CompressionError(
            f"to_sparse: given a {type(model).__name__} that can not be copied; expected one that copy.deepcopy takes "
            f"({error})"
        ) from None


def _check(model: nn.Module, margin: float, repeats: int) -> None:
    if not isinstance(model, nn.Module):
        raise CompressionError(f"to_sparse: given {shown(model)}; expected a model")
    if any(COMPILED in module._modules for module in model.modules()):
        raise CompressionError(
            "to_sparse: given a model that torch.compile made; expected the model it was made from (its _orig_mod)"
        )
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not margin >= 1:
        raise CompressionError(f"to_sparse.margin: given {shown(margin)}; expected a number from 1")
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise CompressionError(f"to_sparse.repeats: given {shown(repeats)}; expected a whole number from 1")
