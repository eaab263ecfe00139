"""Networks of many families in plain torch, small and seeded, with weights that let no mistake hide.

Each entry of `ZOO` builds a net and an input for it. All take a `width`, so that a test can also have them large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tests.compression import zoo_convolutions as conv
from tests.compression import zoo_sequences as seq

Example: TypeAlias = Tensor | tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A net and the input of its forward pass: a tensor, a tuple of arguments, or keyword arguments."""

    build: Callable[[], nn.Module]
    example: Callable[[], Example]


def randomise(model: nn.Module) -> None:
    """Draw every parameter and statistic anew, away from 0 and 1, so that activations keep their size."""
    for module in model.modules():
        for name, values in module.named_parameters(recurse=False):
            if "bias" in name:
                values.data.uniform_(0.1, 0.4).mul_(torch.randint(2, values.shape) * 2 - 1)
            elif values.dim() > 1:
                nn.init.kaiming_normal_(values, nonlinearity="linear")
            else:
                values.data.uniform_(*((0.1, 0.4) if isinstance(module, nn.PReLU) else (0.5, 1.5)))
        for name, statistic in module.named_buffers(recurse=False):
            if name == "running_mean":
                statistic.uniform_(0.1, 0.6).mul_(torch.randint(2, statistic.shape) * 2 - 1)
            elif name == "running_var":
                statistic.uniform_(0.4, 1.6)


def seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same net at each call, and the caller's random numbers as they were."""

    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = make()
            randomise(model)
        return model

    return build


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def tokens(*shape: int) -> Tensor:
    return torch.randint(50, shape, generator=torch.Generator().manual_seed(1))


def images() -> Tensor:
    return normal(2, 3, 32, 32)


def entry(make: Callable[[], nn.Module], example: Callable[[], Example] = images) -> Entry:
    return Entry(seeded(make), example)


ZOO: dict[str, Entry] = {
    "vgg": entry(conv.vgg),
    "vgg_plain": entry(partial(conv.vgg, bn=False)),
    "resnet18": entry(partial(conv.resnet, conv.BasicBlock, (2, 2, 2, 2))),
    "resnet50": entry(partial(conv.resnet, conv.Bottleneck, (3, 4, 6, 3))),
    "resnext": entry(partial(conv.resnet, conv.Bottleneck, (2, 2), groups=4)),
    "mobilenet_v2": entry(conv.mobilenet_v2),
    "shufflenet": entry(conv.shufflenet),
    "densenet": entry(conv.densenet),
    "unet_groupnorm": entry(conv.UNet),
    "convnext": entry(conv.convnext),
    "vit": entry(partial(seq.ViT, seq.PackedAttention)),
    "vit_separate": entry(partial(seq.ViT, seq.SeparateAttention)),
    "vit_hardcoded": entry(partial(seq.ViT, seq.HardcodedAttention)),
    "transformer_encoder": entry(seq.TransformerEncoder, partial(tokens, 2, 12)),
    "lstm": entry(seq.LSTMClassifier, lambda: {"tokens": tokens(2, 12)}),
    "lstm_deep": entry(partial(seq.LSTMClassifier, layers=2, bidirectional=True), partial(tokens, 2, 12)),
    "squeeze_excite": entry(conv.squeeze_excite),
    "conv1d": entry(conv.conv1d, partial(normal, 2, 1, 256)),
    "conv3d": entry(conv.conv3d, partial(normal, 2, 1, 8, 8, 8)),
    "autoencoder": entry(conv.autoencoder),
    "generator": entry(conv.Generator, partial(normal, 2, 20)),
    "generator_fixed": entry(partial(conv.Generator, fixed=True), partial(normal, 2, 20)),
    "multi_output": entry(conv.MultiOutput),
    "two_inputs": entry(conv.TwoInputs, lambda: (images(), normal(2, 5))),
    "inception": entry(conv.inception),
    "shared_conv": entry(conv.SharedConv),
    "tied_embedding": entry(seq.TiedEmbedding, partial(tokens, 2, 12)),
    "prelu": entry(conv.prelu),
    "instance_norm": entry(conv.instance_norm),
    "instance_norm_tracked": entry(partial(conv.instance_norm, tracked=True)),
    "nonzero_at_zero": entry(conv.nonzero_at_zero),
    "chunked": entry(conv.Chunked),
    "speech": entry(seq.Speech, partial(normal, 2, 10, 20)),
}
