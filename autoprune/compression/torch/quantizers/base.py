"""`Quantizer`: what every quantizer shares, so that one algorithm is its formula.

A subclass says what becomes of a weight (`quantize_weight`, or `encode`, which gives the integers too) and, if it
quantises activations, of inputs and outputs. Reading config_list, keeping the weights in float and putting the
quantised ones in their place for the time of each forward are here and in the hooks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoprune.compression.core.config_list import Key, Layer, Target
from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.torch.configured import ConfigList, Configured
from autoprune.compression.torch.layers import LayerInfo, layer_info
from autoprune.compression.torch.quantizers import _export
from autoprune.compression.torch.quantizers._codes import Codes, straight_through
from autoprune.compression.torch.quantizers._layers import layers_of, master, missing
from autoprune.compression.torch.quantizers._settings import KINDS, check_bits, kinds_of, quant_keys
from autoprune.compression.torch.quantizers._sites import Site, all_sites, find
from autoprune.errors import Problem


class Quantizer(Configured):
    """Quantises the layers that a config_list selects.

    `Quantizer(model, config_list)`, `Quantizer(config_list)(model)` and `Quantizer(quant_bits=4)(model)` are one;
    keywords beside a config_list hold for every entry that does not say otherwise. A config_list may be the path of
    a file. Building a quantizer checks everything and leaves the model alone; `compress()` quantises it.
    """

    keys: ClassVar[tuple[Key, ...]] = quant_keys()
    differentiable: ClassVar[bool] = False
    """True: gradients pass through the formulas as they are written; otherwise straight to the float values."""

    _state: dict[str, Tensor] | None = None

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        *misplaced: Any,
        **settings: Any,
    ) -> None:
        super().__init__(model, config_list, *misplaced, **settings)
        if self._entries is None:
            self._configure(None, {})

    def quantize_weight(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        """The weight that the layer computes with, in the shape of `weight`."""
        return self.encode(layer, weight).decode()

    def encode(self, layer: LayerInfo, weight: Tensor) -> Codes:
        """The weight as integers on a grid, which `export` writes; the layer computes with what they stand for."""
        raise NotImplementedError(f"{self._called} must override quantize_weight or encode")

    def quantize_input(self, layer: LayerInfo, x: Tensor) -> Tensor:
        """The first argument that the layer gets."""
        raise NotImplementedError(f"{self._called} must override quantize_input")

    def quantize_output(self, layer: LayerInfo, x: Tensor) -> Tensor:
        """The output of the layer that the rest of the model gets."""
        raise NotImplementedError(f"{self._called} must override quantize_output")

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        """Override to look at the layers before they are quantised."""

    def step(self) -> None:
        """Override for an algorithm that changes after an optimizer's step; its users call it."""

    def update_epoch(self, epoch: int) -> None:
        """Override for an algorithm that changes between epochs; its users call it."""

    def effective(self, layer: LayerInfo, args: Any = None, kwargs: Any = None) -> dict[str, Tensor]:
        """The float parameters that a forward with these arguments, or without any an export, starts from."""
        return {"weight": master(layer.module)}

    @property
    def state(self) -> dict[str, Tensor]:
        """What this quantizer has learnt, by `layer.kind.what`."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def folded(self) -> dict[str, str]:
        """The BatchNorm that each layer has taken in, by their names."""
        return {}

    @classmethod
    def of(cls, model: nn.Module) -> Quantizer:
        """The quantizer of a model: for one that was copied or loaded, its own."""
        found = {id(site.quantizer): site.quantizer for _, _, site in all_sites(model)}
        if len(found) != 1:
            raise CompressionError(f"{cls.__name__}.of: given a model with {len(found)} quantizers; expected one")
        return next(iter(found.values()))

    def __call__(self, model: nn.Module) -> nn.Module:
        """Quantise this model: for a quantizer that was built without one."""
        self._take(model)
        return self.compress()

    def compress(self) -> nn.Module:
        """Quantise the model from now on, and return it."""
        layers = [layer_info(self.model, target) for target in self._matched()]
        for layer in layers:
            site = find(layer.module)
            if site is not None and site.quantizer is not self:
                raise CompressionError(
                    f"{self._called}: given layer {layer.name!r}, which {site.quantizer._called} quantises already; "
                    "expected a layer in float (call unwrap() of that quantizer first)"
                )
        self.unwrap()
        self.prepare(layers)
        for layer in layers:
            Site(self, layer)
        _forget_compiled()
        self._compressed = True
        return self.model

    def unwrap(self) -> nn.Module:
        """Give the float model back, with what it has learnt. The quantizer's own state stays."""
        for _, module, site in list(all_sites(self.model)):
            if site.quantizer is self:
                site.detach(module)
        _forget_compiled()
        self._compressed = False
        return self.model

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of the quantizer's state, beside the model's own state_dict."""
        return {name: value.clone() for name, value in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of a quantizer of the same layers; call it after `compress`."""
        for name in (*state, *self.state):
            if name not in self.state:
                valid = remedy(name, self.state)
                raise CompressionError(
                    f"{self._called}.load_state_dict: given {name!r}; expected its own names ({valid})"
                )
            if name not in state:
                raise CompressionError(f"{self._called}.load_state_dict: given no {name!r}; expected all of its state")
        self.state.update({name: value.clone() for name, value in state.items()})

    @torch.no_grad()
    def export(self, path: str | Path) -> None:
        """Write the quantised model as safetensors: integers where there are any, floats for the rest."""
        own = type(self)
        if own.encode is Quantizer.encode or own.quantize_weight is not Quantizer.quantize_weight:
            raise CompressionError(
                f"{self._called}.export: given a quantizer with its own quantize_weight, whose integers are unknown; "
                "expected one that overrides encode"
            )
        if not self._compressed:
            raise CompressionError(f"{self._called}.export: given a model in float; call compress() first")
        _export.write(self, Path(path))

    def exported_activations(self, layer: LayerInfo, kind: str) -> dict[str, Tensor]:
        """Override to write what is known of a layer's inputs and outputs."""
        return {}

    def stand_ins(self, layer: LayerInfo, args: Any, kwargs: Any) -> dict[str, Tensor]:
        """What stands in for the layer's parameters for the time of a forward."""
        parameters = self.effective(layer, args, kwargs)
        weight = self.quantized("weight", layer, parameters["weight"])
        return {**parameters, "weight": weight.to(master(layer.module).dtype)}

    def quantized(self, kind: str, layer: LayerInfo, x: Tensor) -> Tensor:
        """A weight, input or output as the algorithm quantises it. Integers, such as tokens, are left alone."""
        if not isinstance(x, Tensor):
            raise CompressionError(f"layer {layer.name!r}: given {type(x).__name__} as {kind}; expected a tensor")
        if not x.is_floating_point():
            return x
        quantize = getattr(self, f"quantize_{kind}")
        if self.differentiable:
            result: Tensor = quantize(layer, x)
        else:
            with torch.no_grad():
                result = quantize(layer, x)
        if not isinstance(result, Tensor) or result.shape != x.shape:
            given = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else repr(result)
            raise CompressionError(
                f"{self._called}.quantize_{kind}: given {given} for layer {layer.name!r}; "
                f"expected a tensor of shape {tuple(x.shape)}"
            )
        result = result.to(x)
        return result if self.differentiable else straight_through(x, result)

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the settings of an entry beyond each key's own range."""
        offered = [kind for kind in KINDS if kind == "weight" or cls._overrides(f"quantize_{kind}")]
        problems = check_bits(where, settings)
        for kind in kinds_of(settings):
            if kind not in offered:
                expected = f"what {cls.__name__} quantises: {', '.join(offered)}"
                problems.append(Problem(f"{where}.quant_types", repr(kind), expected))
        return problems

    @classmethod
    def _overrides(cls, method: str) -> bool:
        return getattr(cls, method) is not getattr(Quantizer, method)

    def _layers(self, model: nn.Module) -> list[Layer]:
        return layers_of(model)

    def _unfit(self, model: nn.Module, targets: Sequence[Target]) -> list[Problem]:
        return [each for target in targets for each in missing(target, model.get_submodule(target.layer.name))]


def _forget_compiled() -> None:
    """Code that torch.compile made of a model without these hooks would be used for one with them."""
    if (dynamo := sys.modules.get("torch._dynamo")) is not None:
        dynamo.reset()
