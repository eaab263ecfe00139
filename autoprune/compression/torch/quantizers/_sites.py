"""Where a quantizer meets a model: two hooks on each layer, around its forward.

For the time of a forward, tensors stand in for the layer's parameters: they are put in the `__dict__` of the
module, where attribute lookup finds them before the parameters. The parameters stay registered throughout, so
state_dict, optimizers and masks see floats. What the hooks need is in the module's `__dict__` too and the hooks are
plain functions, so a copied or unpickled model quantises by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.quantizers._settings import kinds_of

if TYPE_CHECKING:
    from autoprune.compression.torch.quantizers.base import Quantizer

_ATTRIBUTE = "_autoprune_quantization"


class Site:
    """A quantised layer: who quantises it, how, and what stands in for its parameters in each thread's calls of it."""

    def __init__(self, quantizer: Quantizer, layer: LayerInfo) -> None:
        self.quantizer = quantizer
        self.name = layer.name
        self.settings: Mapping[str, Any] = layer.settings
        self.kinds = kinds_of(layer.settings)
        self.calls: dict[int, list[Mapping[str, Tensor]]] = {}
        self.handles: list[RemovableHandle] = [
            layer.module.register_forward_pre_hook(_before, with_kwargs=True),
            layer.module.register_forward_hook(_after, always_call=True),
        ]
        layer.module.__dict__[_ATTRIBUTE] = self

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: calls that are under way are not theirs."""
        return {**vars(self), "calls": {}}

    def layer(self, module: nn.Module) -> LayerInfo:
        return LayerInfo(self.name, module, "weight", self.settings)

    def detach(self, module: nn.Module) -> None:
        for handle in self.handles:
            handle.remove()
        for name in module._parameters:
            module.__dict__.pop(name, None)
        del module.__dict__[_ATTRIBUTE]


def find(module: nn.Module) -> Site | None:
    site: Site | None = module.__dict__.get(_ATTRIBUTE)
    return site


def all_sites(model: nn.Module, *, every_name: bool = False) -> Iterator[tuple[str, nn.Module, Site]]:
    """The quantised layers of a model; a module with several names once, or by every name."""
    for name, module in model.named_modules(remove_duplicate=not every_name):
        if (site := find(module)) is not None:
            yield name, module, site


def _before(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    site: Site = module.__dict__[_ATTRIBUTE]
    layer = site.layer(module)
    own = site.calls.setdefault(_thread(), [])
    own.append({})
    if "input" in site.kinds:
        args, kwargs = _quantize_first(site.quantizer, layer, args, kwargs)
    if "weight" in site.kinds:
        own[-1] = site.quantizer.stand_ins(layer, args, kwargs)
        module.__dict__.update(own[-1])
    return args, kwargs


def _after(module: nn.Module, _args: object, output: Any) -> Any:
    """Also called, without output, when the forward has raised."""
    site: Site = module.__dict__[_ATTRIBUTE]
    if own := site.calls.get(_thread()):
        _restore(module, site, own.pop())
    if output is None or "output" not in site.kinds:
        return None
    return site.quantizer.quantized("output", site.layer(module), output)


def _restore(module: nn.Module, site: Site, ended: Mapping[str, Tensor]) -> None:
    """What stands in now: for the call around this one, or for another thread's, or nothing."""
    if not site.calls[_thread()]:
        del site.calls[_thread()]
    others = [calls[-1] for calls in list(site.calls.values()) if calls]
    around = site.calls[_thread()][-1] if _thread() in site.calls else others[-1] if others else {}
    for name in ended:
        if name in around:
            module.__dict__[name] = around[name]
        else:
            module.__dict__.pop(name, None)


def _thread() -> int:
    return 0 if torch.compiler.is_compiling() else get_ident()


def _quantize_first(quantizer: Quantizer, layer: LayerInfo, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """A layer's input is its first argument."""
    if args:
        return (quantizer.quantized("input", layer, args[0]), *args[1:]), kwargs
    name = next(iter(kwargs))
    return args, {**kwargs, name: quantizer.quantized("input", layer, kwargs[name])}
