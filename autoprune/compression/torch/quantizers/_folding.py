"""BatchNorm folded into the layer before it, as integer inference does, while both still train.

Which BatchNorm belongs to which layer is seen by running the model once. A folded BatchNorm passes its input
through; the layer normalises in its place, by weight and bias, and keeps its running statistics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.nested import tensors
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.quantizers._layers import master, own_parameter

_FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold(module: nn.Module, norm: nn.Module, args: Any, kwargs: Any) -> dict[str, Tensor]:
    """Weight and bias that do what the layer and its BatchNorm do: on this batch in training, else in general."""
    weight, shift = master(module), own_parameter(module, "bias")
    gamma, beta = own_parameter(norm, "weight"), own_parameter(norm, "bias")
    if norm.training and args is not None:
        mean, variance = _batch_statistics(module, norm, args, kwargs)
    else:
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    epsilon: Any = norm.eps
    gain = torch.rsqrt(variance + epsilon) * (1 if gamma is None else gamma)
    bias = ((0 if shift is None else shift) - mean) * gain + (0 if beta is None else beta)
    return {"weight": wide(weight) * gain.view(-1, *[1] * (weight.dim() - 1)), "bias": bias.to(weight.dtype)}


def bypass(norm: nn.Module) -> None:
    norm.__dict__["forward"] = _identity


def restore(norm: nn.Module) -> None:
    norm.__dict__.pop("forward", None)


def pairs(model: nn.Module, layers: Mapping[str, nn.Module], dummy_input: Any) -> dict[str, nn.Module]:
    """The BatchNorm of each layer whose output goes there and nowhere else."""
    watch = _Watch()
    with _undisturbed(model), ExitStack() as hooks:
        for module in set(layers.values()):
            if isinstance(module, _FOLDABLE):
                hooks.callback(module.register_forward_hook(watch.after_layer).remove)
        for module in model.modules():
            if type(module) in _NORMS and module.running_mean is not None:
                hooks.callback(module.register_forward_pre_hook(watch.before_norm).remove)
                hooks.callback(module.register_forward_hook(watch.after_norm, always_call=True).remove)
        with watch:
            output = call(model, dummy_input)
    watch.used.update(id(tensor) for tensor in tensors(output))
    norms = watch.pairs()
    return {name: norms[module] for name, module in layers.items() if module in norms}


class _Watch(TorchFunctionMode):
    """Sees which layer returned a tensor and which BatchNorm received it, and whether anything else used it."""

    def __init__(self) -> None:
        super().__init__()
        self.returned: list[tuple[nn.Module, Tensor]] = []
        self.received: list[tuple[nn.Module, Tensor]] = []
        self.used: Counter[int] = Counter()
        self.inside_norm = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.inside_norm and any(True for _ in tensors(result)):
            self.used.update(id(tensor) for tensor in tensors((args, kwargs)))
        return result

    def after_layer(self, module: nn.Module, _args: Any, output: Tensor) -> None:
        """A new tensor may have the identity of one that was freed; from here on it is held."""
        self.used.pop(id(output), None)
        self.returned.append((module, output))

    def before_norm(self, norm: nn.Module, args: Any) -> None:
        self.inside_norm = True
        if args:
            self.received.append((norm, args[0]))

    def after_norm(self, _norm: nn.Module, _args: Any, _output: Tensor) -> None:
        self.inside_norm = False

    def pairs(self) -> dict[nn.Module, nn.Module]:
        """Layers and norms that ran once, joined by a tensor that only they touched."""
        calls = Counter(module for module, _ in (*self.returned, *self.received))
        receivers: dict[int, list[nn.Module]] = {}
        for norm, tensor in self.received:
            receivers.setdefault(id(tensor), []).append(norm)
        found = {}
        for module, tensor in self.returned:
            norms = receivers.get(id(tensor), [])
            flat = not isinstance(module, nn.Linear) or tensor.dim() == 2
            if len(norms) == 1 and calls[module] == calls[norms[0]] == 1 and not self.used[id(tensor)] and flat:
                found[module] = norms[0]
        return found


def _batch_statistics(module: nn.Module, norm: nn.Module, args: Any, kwargs: Any) -> tuple[Tensor, Tensor]:
    """Mean and variance of what the float layer returns; the running statistics move as BatchNorm moves them."""
    output = module.forward(*args, **kwargs)
    with torch.no_grad():
        type(norm).forward(norm, output)
    others = [dimension for dimension in range(output.dim()) if dimension != 1]
    variance, mean = torch.var_mean(wide(output), others, correction=0)
    return mean, variance


def _identity(x: Tensor) -> Tensor:
    return x


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """In eval mode and without gradients; modes, buffers and random numbers are as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)
        for module, mode in modes:
            module.training = mode
