"""Parameters and multiply-adds of a net, counted from its modules by formula, to hold other counts against.

It knows nothing of the code under test, and refuses a layer with weights that it has no formula for.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ATTENTION = "scaled_dot_product_attention"
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NOTHING_COUNTED = (nn.Embedding, nn.LayerNorm)


def parameters(model: nn.Module) -> int:
    """Numbers in all parameters; one that is used in two places counts once."""
    held = {id(values): values for module in model.modules() for values in module._parameters.values()}
    return shape_count(values.shape for values in held.values() if values is not None)


def shape_count(shapes: Iterable[Iterable[int]]) -> int:
    """Numbers in tensors of these shapes."""
    return sum(prod(shape) for shape in shapes)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter and buffer."""
    return {name: tuple(values.shape) for name, values in model.state_dict().items()}


def kept_shape(mask: Tensor) -> tuple[int, ...]:
    """The shape that is left of a mask when every row, column and so on that is all zero goes."""
    ones = mask.nonzero()
    return tuple(len(set(ones[:, dim].tolist())) for dim in range(mask.dim()))


def call(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def macs(model: nn.Module, inputs: Any) -> int:
    """Multiply-adds of one forward pass over these inputs, the whole batch."""
    return sum(layer_macs(model, inputs).values())


def layer_macs(model: nn.Module, inputs: Any) -> Counter[str]:
    """Multiply-adds of each layer by name (over all its calls), and of `ATTENTION`, the function.

    Convolutions, linear and recurrent layers and attention count; bias, normalisation and activations do not.
    """
    counts: Counter[str] = Counter()
    model = copy.deepcopy(model).eval()
    for name, module in model.named_modules():

        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any, name: str = name) -> None:
            counts[name] += _layer(name, module, args, kwargs, output)

        module.register_forward_hook(hook, with_kwargs=True)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), _Attention(counts):
            call(model, inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counts


class _Attention(TorchFunctionMode):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
        if func is F.scaled_dot_product_attention:
            query, key, value = given["query"], given["key"], given["value"]
            self.counts[ATTENTION] += query.shape[:-1].numel() * key.shape[-2] * (key.shape[-1] + value.shape[-1])
        return func(*args, **(kwargs or {}))


def _layer(name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> int:
    if isinstance(module, CONVOLUTIONS):
        window = prod(module.kernel_size) * (module.in_channels // module.groups)
        return int(output.numel()) * window
    if isinstance(module, TRANSPOSED):
        window = prod(module.kernel_size) * (module.out_channels // module.groups)
        return int(args[0].numel()) * window
    if isinstance(module, nn.Linear):
        return int(output.numel()) * module.in_features
    if isinstance(module, nn.LSTM | nn.GRU):
        return _recurrent(module, args[0])
    if isinstance(module, nn.MultiheadAttention):
        return _self_attention(module, *args[:3], **kwargs)
    leaf = next(module.children(), None) is None
    matrices = leaf and any(values.dim() > 1 for values in module.parameters(recurse=False))
    assert isinstance(module, NOTHING_COUNTED) or not matrices, f"no formula for {name}: {module}"
    return 0


def _recurrent(module: nn.LSTM | nn.GRU, inputs: Tensor) -> int:
    """Four gates, a GRU has three, for each step, layer and direction, each from the input and the state of before."""
    assert module.proj_size == 0
    gates = 4 if isinstance(module, nn.LSTM) else 3
    directions = 2 if module.bidirectional else 1
    width, cells = module.input_size, 0
    for _ in range(module.num_layers):
        cells += directions * gates * module.hidden_size * (width + module.hidden_size)
        width = directions * module.hidden_size
    return inputs.shape[:-1].numel() * cells


def _self_attention(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, **_: Any) -> int:
    """Four projections, queries times keys, and weights times values."""
    assert query is key
    assert key is value
    assert module.batch_first
    batch, length, width = query.shape
    return batch * (4 * length * width * width + 2 * length * length * width)
