"""Where a quantizer meets a model: two hooks on each layer, around its forward.

For the time of a forward, tensors stand in for the layer's parameters: they are put in the `__dict__` of the
module, where attribute lookup finds them before the parameters. The parameters stay registered throughout, so
state_dict, optimizers and masks see floats. What the hooks need is in the module's `__dict__` too and the hooks are
plain functions, so a copied or unpickled model quantises by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.quantizers._settings import kinds_of

if TYPE_CHECKING:
    from autoprune.compression.torch.quantizers.base import Quantizer

_ATTRIBUTE = "_autoprune_quantization"


class Site:
    """A quantised layer: who quantises it, how, and what stood in for its parameters before a nested call."""

    def __init__(self, quantizer: Quantizer, layer: LayerInfo) -> None:
        self.quantizer = quantizer
        self.name = layer.name
        self.settings: Mapping[str, Any] = layer.settings
        self.kinds = kinds_of(layer.settings)
        self.outer: list[dict[str, Tensor | None]] = []
        self.handles: list[RemovableHandle] = [
            layer.module.register_forward_pre_hook(_before, with_kwargs=True),
            layer.module.register_forward_hook(_after, always_call=True),
        ]
        layer.module.__dict__[_ATTRIBUTE] = self

    def layer(self, module: nn.Module) -> LayerInfo:
        return LayerInfo(self.name, module, "weight", self.settings)

    def detach(self, module: nn.Module) -> None:
        for handle in self.handles:
            handle.remove()
        while self.outer:
            _restore(module, self)
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
    replaced: dict[str, Tensor | None] = {}
    site.outer.append(replaced)
    if "input" in site.kinds:
        args, kwargs = _quantize_first(site.quantizer, layer, args, kwargs)
    if "weight" in site.kinds:
        for name, tensor in site.quantizer.stand_ins(layer, args, kwargs).items():
            replaced[name] = module.__dict__.get(name)
            module.__dict__[name] = tensor
    return args, kwargs


def _after(module: nn.Module, _args: object, output: Any) -> Any:
    """Also called, without output, when the forward has raised."""
    site: Site = module.__dict__[_ATTRIBUTE]
    if site.outer:
        _restore(module, site)
    if output is None or "output" not in site.kinds:
        return None
    return site.quantizer.quantized("output", site.layer(module), output)


def _restore(module: nn.Module, site: Site) -> None:
    for name, tensor in site.outer.pop().items():
        if tensor is None:
            del module.__dict__[name]
        else:
            module.__dict__[name] = tensor


def _quantize_first(quantizer: Quantizer, layer: LayerInfo, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """A layer's input is its first argument."""
    if args:
        return (quantizer.quantized("input", layer, args[0]), *args[1:]), kwargs
    name = next(iter(kwargs))
    return args, {**kwargs, name: quantizer.quantized("input", layer, kwargs[name])}
