"""How many multiply-accumulates a forward takes, by torch's flop counter.

The model runs on the meta device, as a copy whose tensors have shapes and no values: that takes no memory, and there
torch writes attention and recurrent layers out as the products that the counter knows. Zeros count like any value,
except in the sparse layers of `to_sparse`, which leave them out. Elementwise operations, pooling and look-ups are no
multiply-accumulates.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.copying import plain_copy
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.layers import COMPILED, original
from autoprune.compression.torch.measuring.counting import owner
from autoprune.compression.torch.nested import each_tensor, tensors
from autoprune.compression.torch.quantizers import _sites
from autoprune.compression.torch.sparse_kernels.kernels import SemiStructuredLinear, SparseLinear
from autoprune.compression.torch.untouched import random_state_kept

_Shape: TypeAlias = tuple[int, ...]
_NOT_THE_USERS = (Path(torch.__file__).parent, Path(__file__).parents[2])


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates in all, and by layer those outside of the layers in it. One never called is not there."""

    total: int
    layers: Mapping[str, int]


def count_macs(model: nn.Module, example_input: Any) -> Macs:
    """Of one forward in eval mode; a layer that is called twice counts twice."""
    shapes = _on_meta(model)
    inputs = each_tensor(example_input, _meta)
    counter = FlopCounterMode(display=False, custom_mapping=_MORE)
    ledger = _Ledger(counter)
    for name, module in shapes.named_modules():
        ledger.watch(owner(name), module)
    with random_state_kept(), torch.no_grad(), torch.device("meta"), counter:
        try:
            call(shapes, inputs)
        except Exception as error:
            raise CompressionError(_failed(ledger.open[-1] if ledger.open else "", error)) from error
    return _without_zeros(model, Macs(counter.get_total_flops() // 2, ledger.layers()))


class _Ledger:
    """Books what the counter counts on the innermost layer that is being called."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.open: list[str] = []
        self._counter = counter
        self._flops: dict[str, int] = {}
        self._booked = 0

    def watch(self, name: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: self._enter(name))
        module.register_forward_hook(lambda *_: self._leave())

    def layers(self) -> dict[str, int]:
        return {name: flops // 2 for name, flops in self._flops.items()}

    def _enter(self, name: str) -> None:
        self._book()
        self.open.append(name)
        self._flops.setdefault(name, 0)

    def _leave(self) -> None:
        self._book()
        self.open.pop()

    def _book(self) -> None:
        now = self._counter.get_total_flops()
        if self.open:
            self._flops[self.open[-1]] += now - self._booked
        self._booked = now


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy with shapes in the place of tensors: without masks, quantizers and compiled code, in eval mode."""
    instead: dict[int, Any] = {}
    for module in model.modules():
        if isinstance(module, SparseLinear | SemiStructuredLinear):
            biased = module.bias is not None
            instead[id(module)] = nn.Linear(module.in_features, module.out_features, biased, "meta", _dtype(module))
        for tensor in tensors(vars(module)):
            instead[id(tensor)] = _meta(tensor)
    try:
        copied = plain_copy(model, instead)
    except (RuntimeError, TypeError) as error:
        raise CompressionError(
            f"measure: given a {type(model).__name__} that can not be copied; expected one that copy.deepcopy takes, "
            f"for its MACs to be counted on a copy (macs=False leaves them out; {error})"
        ) from error
    for _, module, site in list(_sites.all_sites(copied)):
        site.detach(module)
    for module in list(copied.modules()):
        for name, child in module._modules.items():
            if child is not None and COMPILED in child._modules:
                module._modules[name] = child._modules[COMPILED]
    return (copied._modules.get(COMPILED) or copied).eval()


def _meta(tensor: Tensor) -> Tensor:
    shape = tensor.detach().to("meta")
    return nn.Parameter(shape, requires_grad=False) if isinstance(tensor, nn.Parameter) else shape


def _dtype(module: SparseLinear | SemiStructuredLinear) -> torch.dtype:
    return module.values.dtype if isinstance(module, SparseLinear) else module.weight.dtype


def _without_zeros(model: nn.Module, dense: Macs) -> Macs:
    """What sparse layers really multiply: in CSR the weights that are kept, in 2:4 a half."""
    layers = dict(dense.layers)
    for path, module in model.named_modules():
        name = original(path)
        if isinstance(module, SparseLinear) and layers.get(name):
            layers[name] = layers[name] // (module.in_features * module.out_features) * module.values.numel()
        elif isinstance(module, SemiStructuredLinear) and layers.get(name):
            layers[name] //= 2
    saved = sum(dense.layers.values()) - sum(layers.values())
    return Macs(dense.total - saved, layers)


def _failed(layer: str, error: Exception) -> str:
    """What went wrong, in which layer, and in which line of the user's own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if not any(Path(each.filename).is_relative_to(root) for root in _NOT_THE_USERS)]
    line = f", at `{own[-1].line}` ({Path(own[-1].filename).name}:{own[-1].lineno})" if own and own[-1].line else ""
    where = f" in layer {layer!r}" if layer else ""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return (
        f"measure: given a model that failed{where}{line}: {reason}; expected an example_input that fits the model, "
        "and operations that need shapes and not values, to count MACs on the meta device (macs=False leaves them out)"
    )


def _matrix_vector(matrix: _Shape, vector: _Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def _add_matrix_vector(added: _Shape, matrix: _Shape, vector: _Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def _dot(left: _Shape, right: _Shape, **_: Any) -> int:
    return 2 * prod(left)


def _add_batched(added: _Shape, left: _Shape, right: _Shape, **_: Any) -> int:
    return 2 * prod(left) * right[-1]


def _bilinear(left: _Shape, weight: _Shape, *_: Any, **__: Any) -> int:
    return 2 * left[0] * prod(weight)


_aten = torch.ops.aten
_MORE = {
    _aten.mv: _matrix_vector,
    _aten.addmv: _add_matrix_vector,
    _aten.dot: _dot,
    _aten.addbmm: _add_batched,
    _aten._trilinear: _bilinear,
}
"""Products that torch's counter takes for nothing. `_trilinear` is what nn.Bilinear calls: a multiply-accumulate for
each weight and sample."""
