"""A quantised model as safetensors: no pickle, readable without this package.

For each quantised layer `NAME.weight` holds signed integers, and scale * (integer - zero_point) is the weight that
the layer computes with; `NAME.weight.scale` and `NAME.weight.zero_point` are floats. `NAME.output.range`,
`.scale` and `.zero_point` (`input` alike) describe activations whose range is known. All other parameters and
buffers are there in float, but those of a BatchNorm that was folded into a layer's weight and bias.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import saving
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.quantizers._settings import bits_of
from autoprune.compression.torch.quantizers._sites import all_sites

if TYPE_CHECKING:
    from autoprune.compression.torch.quantizers.base import Quantizer

FORMAT = "autoprune-quantized-1"


def write(quantizer: Quantizer, path: Path) -> None:
    saving.check_place(path)
    model = quantizer.model
    tensors: dict[str, Tensor] = dict(model.state_dict())
    layers: dict[str, dict[str, int]] = {}
    for name, module, site in all_sites(model, every_name=True):
        if site.quantizer is quantizer:
            layers[name] = {kind: bits_of(site.settings, kind) for kind in site.kinds}
            tensors |= _layer(quantizer, name, site.layer(module), layers[name])
    folded = quantizer.folded
    absorbed = tuple(f"{norm}." for norm in folded.values())
    kept = {name: value for name, value in tensors.items() if not absorbed or not name.startswith(absorbed)}
    metadata = {
        "format": FORMAT,
        "quantizer": type(quantizer).__name__,
        "bits": json.dumps(layers),
        "folded": json.dumps(folded),
    }
    saving.write({path: {name: value.detach().cpu().contiguous().clone() for name, value in kept.items()}}, metadata)


def _layer(quantizer: Quantizer, name: str, layer: LayerInfo, bits: dict[str, int]) -> dict[str, Tensor]:
    written: dict[str, Tensor] = {}
    for kind in bits:
        if kind == "weight":
            parameters = quantizer.effective(layer)
            codes = quantizer.encode(layer, parameters["weight"])
            if not bool(torch.isfinite(codes.values).all()):
                raise CompressionError(f"export: given NaN or infinite weights in layer {name!r}; expected numbers")
            written |= {f"{name}.{parameter}": value for parameter, value in parameters.items()}
            written[f"{name}.weight"], written[f"{name}.weight.zero_point"] = codes.stored(bits[kind])
            written[f"{name}.weight.scale"] = codes.scale
        else:
            known = quantizer.exported_activations(layer, kind)
            written |= {f"{name}.{kind}.{quantity}": value for quantity, value in known.items()}
    return written
