"""Quantization-aware training: the forward computes as integer arithmetic will, the backward trains floats.

B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.compression.core.config_list import integer_key
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.quantizers import _folding
from autoprune.compression.torch.quantizers._codes import Codes, affine
from autoprune.compression.torch.quantizers._settings import bits_of, kinds_of, quant_keys
from autoprune.compression.torch.quantizers.base import Quantizer

DECAY = 0.99


class QATQuantizer(Quantizer):
    """Puts weights on 2^bits levels over their present range, activations over a moving average of theirs.

    Ranges of activations follow the batches in training mode and stand still in eval mode. A layer's activations
    are quantised once it has seen `quant_start_step` batches in training mode. With a `dummy_input` (a tensor, a
    tuple of arguments or a dict of keywords), each BatchNorm that takes the output of a convolution or linear layer
    is folded into its weight before that is quantised.
    """

    aliases = ("QAT_Quantizer", "QATquantizer")
    keys = (*quant_keys(kinds=("weight", "output")), integer_key("quant_start_step", least=0, default=0))
    differentiable = True

    _dummy_input: Any = None
    _norms: Mapping[str, nn.Module] = {}

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        *misplaced: Any,
        dummy_input: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(model, config_list, *misplaced, **settings)
        self._dummy_input = dummy_input

    def encode(self, layer: LayerInfo, weight: Tensor) -> Codes:
        return affine(weight, *wide(weight).detach().aminmax(), bits_of(layer.settings, "weight"))

    def quantize_input(self, layer: LayerInfo, x: Tensor) -> Tensor:
        return self._activation(layer, "input", x)

    def quantize_output(self, layer: LayerInfo, x: Tensor) -> Tensor:
        return self._activation(layer, "output", x)

    def effective(self, layer: LayerInfo, args: Any = None, kwargs: Any = None) -> dict[str, Tensor]:
        norm = self._norms.get(layer.name)
        if norm is None:
            return super().effective(layer, args, kwargs)
        return _folding.fold(layer.module, norm, args, kwargs)

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        for layer in layers:
            for kind in set(kinds_of(layer.settings)) - {"weight"}:
                self.state.setdefault(f"{layer.name}.{kind}.range", torch.zeros(2))
                self.state.setdefault(f"{layer.name}.{kind}.steps", torch.tensor(0))
        if self._dummy_input is not None:
            weighted = {layer.name: layer.module for layer in layers if "weight" in kinds_of(layer.settings)}
            found = _folding.pairs(self.model, weighted, self._dummy_input)
            self._norms = {name: norm for name, norm in found.items() if norm not in weighted.values()}
            for norm in self._norms.values():
                _folding.bypass(norm)

    def unwrap(self) -> nn.Module:
        for norm in self._norms.values():
            _folding.restore(norm)
        self._norms = {}
        return super().unwrap()

    @property
    def folded(self) -> dict[str, str]:
        names = {id(module): name for name, module in self.model.named_modules()}
        return {layer: names[id(norm)] for layer, norm in self._norms.items()}

    def exported_activations(self, layer: LayerInfo, kind: str) -> dict[str, Tensor]:
        held = self.state[f"{layer.name}.{kind}.range"]
        if not self.state[f"{layer.name}.{kind}.steps"]:
            return {}
        bits = bits_of(layer.settings, kind)
        low, high = held
        codes = affine(held, low, high, bits)
        return {"range": held, "scale": codes.scale, "zero_point": codes.stored(bits)[1]}

    def _activation(self, layer: LayerInfo, kind: str, x: Tensor) -> Tensor:
        name, first = f"{layer.name}.{kind}", max(layer.settings["quant_start_step"], 1)
        if layer.module.training and x.numel():
            self._observe(name, wide(x).detach())
            first = layer.settings["quant_start_step"] + 1
        low, high = self.state[f"{name}.range"].to(x.device)
        quantized = affine(x, low, high, bits_of(layer.settings, kind)).decode().to(x.dtype)
        return torch.where(self.state[f"{name}.steps"].to(x.device) >= first, quantized, x)

    def _observe(self, name: str, x: Tensor) -> None:
        """Move the range towards this batch's; the first batch sets it."""
        seen = torch.stack(x.aminmax())
        held, steps = self.state[f"{name}.range"].to(seen), self.state[f"{name}.steps"].to(seen.device)
        self.state[f"{name}.range"] = torch.where(steps > 0, held.lerp(seen, 1 - DECAY), seen)
        self.state[f"{name}.steps"] = steps + 1
