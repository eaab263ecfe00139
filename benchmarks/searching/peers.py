"""Peers that run in a Python of their own, and hand back weights."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from searching.networks import Network

SCRIPT = Path(__file__).with_name("fastnas.py")
SIDES = {"Conv2d": ("out_channels", "in_channels"), "Linear": ("out_features", "in_features")}


def fastnas(network: Network, python: str, work: Path) -> nn.Module:
    """The network as FastNAS prunes it to the budget. Its weights are kept: it runs once."""
    settings = network.job.settings
    out = work / f"fastnas-{network.name}-{settings.task.key}-{settings.seed}.safetensors"
    if not out.exists():
        request = {
            "task": f"{settings.task.file}:{settings.task.name}",
            "arguments": dict(settings.task.arguments),
            "prepared": str(settings.prepared),
            "limit": network.budget["limit"],
            "seed": settings.seed,
        }
        partial = out.with_suffix(".partial")
        subprocess.run([python, str(SCRIPT), json.dumps(request), str(partial)], check=True)
        partial.replace(out)
    return shaped(network.job.build(), load_file(out))


def shaped(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """A model whose layers have as many channels as these weights, and the weights."""
    for name, module in model.named_modules():
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.rpartition(".")[0] == name}
        for key, value in own.items():
            if key in module._parameters:
                module._parameters[key] = nn.Parameter(value)
            else:
                module._buffers[key] = value
        if isinstance(module, nn.BatchNorm2d):
            module.num_features = len(own["weight"])
        for kind, (outputs, inputs) in SIDES.items():
            if type(module).__name__ == kind:
                setattr(module, outputs, own["weight"].shape[0])
                setattr(module, inputs, own["weight"].shape[1])
    return model
