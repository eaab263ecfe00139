"""Convolutional networks of many families, small, written the way people write them: names of layers and all."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def named(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


def conv_bn(
    inputs: int, outputs: int, size: int, act: nn.Module | None = None, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, BatchNorm and an activation (ReLU if none is given)."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), act or nn.ReLU(inplace=True))


def pooled_head(inputs: int, classes: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def vgg(width: int = 8, size: int = 32, bn: bool = True) -> nn.Sequential:
    """Flattens (size / 8)² positions of each channel."""
    layers: list[nn.Module] = []
    inputs = 3
    for step in (1, 2, 4):
        for _ in range(2):
            norm = [nn.BatchNorm2d(width * step)] if bn else []
            layers += [nn.Conv2d(inputs, width * step, 3, padding=1), *norm, nn.ReLU(inplace=True)]
            inputs = width * step
        layers.append(nn.MaxPool2d(2))
    wide = width * 8
    hidden = [nn.Linear(inputs * (size // 8) ** 2, wide), nn.ReLU(inplace=True), nn.Dropout()]
    more = [nn.Linear(wide, wide), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(wide, 10)]
    return named(features=nn.Sequential(*layers), flatten=nn.Flatten(), classifier=nn.Sequential(*hidden, *more))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return F.relu(out, inplace=True)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(inputs, width * 4, stride)

    def forward(self, x: Tensor) -> Any:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def resnet(
    block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], width: int = 8, groups: int = 1
) -> nn.Sequential:
    """The layers of He et al. and their names; `width=64` is the size of the paper (1000 classes there)."""
    conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    stem = {"conv1": conv1, "bn1": nn.BatchNorm2d(width), "relu": nn.ReLU(), "maxpool": nn.MaxPool2d(3, 2, 1)}
    stages, inputs = {}, width
    for stage, depth in enumerate(depths):
        blocks = []
        for index in range(depth):
            blocks.append(block(inputs, width << stage, 2 if stage and not index else 1, groups))
            inputs = (width << stage) * block.expansion
        stages[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    head = {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(inputs, 10)}
    return named(**stem, **stages, **head)


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        widen = [conv_bn(inputs, hidden, 1, nn.ReLU6())] if expand > 1 else []
        depthwise = conv_bn(hidden, hidden, 3, nn.ReLU6(), stride, groups=hidden)
        project = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.conv = nn.Sequential(*widen, depthwise, project, nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Any:
        return x + self.conv(x) if self.residual else self.conv(x)


def mobilenet_v2(width: int = 8) -> nn.Sequential:
    plan = [(width, 1, 1), (width * 2, 2, 4), (width * 2, 1, 4), (width * 3, 2, 4), (width * 3, 1, 4)]
    layers: list[nn.Module] = [conv_bn(3, width, 3, nn.ReLU6(), stride=2)]
    inputs = width
    for outputs, stride, expand in plan:
        layers.append(InvertedResidual(inputs, outputs, stride, expand))
        inputs = outputs
    layers.append(conv_bn(inputs, width * 8, 1, nn.ReLU6()))
    return named(features=nn.Sequential(*layers), classifier=pooled_head(width * 8))


class ShuffleUnit(nn.Module):
    """Half of the channels passes by; then the channels of both halves take turns."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        depthwise = nn.Sequential(nn.Conv2d(half, half, 3, padding=1, groups=half), nn.BatchNorm2d(half))
        self.branch = nn.Sequential(conv_bn(half, half, 1), depthwise, conv_bn(half, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        out = torch.cat([kept, self.branch(worked)], dim=1)
        batch, channels, height, width = out.shape
        return out.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, -1, height, width)


def shufflenet(width: int = 16) -> nn.Sequential:
    units = [ShuffleUnit(width), ShuffleUnit(width), conv_bn(width, width * 2, 3, stride=2), ShuffleUnit(width * 2)]
    return named(stem=conv_bn(3, width, 3, stride=2), stages=nn.Sequential(*units), head=pooled_head(width * 2))


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, growth * 4, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(growth * 4), nn.Conv2d(growth * 4, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(hidden)))], 1)


def densenet(width: int = 8, growth: int = 4, depth: int = 3) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1, bias=False)]
    for block in range(2):
        layers += [DenseLayer(width + index * growth, growth) for index in range(depth)]
        width += depth * growth
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        if block == 0:
            layers += [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    return named(features=nn.Sequential(*layers), head=pooled_head(width))


def conv_gn(inputs: int, outputs: int, groups: int = 4) -> nn.Sequential:
    def half(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, outputs, 3, padding=1), nn.GroupNorm(groups, outputs), nn.SiLU()]

    return nn.Sequential(*half(inputs), *half(outputs))


class UNet(nn.Module):
    def __init__(self, width: int = 16, channels: int = 3) -> None:
        super().__init__()
        self.enc1, self.down1 = conv_gn(channels, width), nn.Conv2d(width, width, 3, 2, 1)
        self.enc2, self.down2 = conv_gn(width, width * 2), nn.MaxPool2d(2)
        self.mid = conv_gn(width * 2, width * 4)
        self.up2, self.dec2 = nn.ConvTranspose2d(width * 4, width * 2, 2, 2), conv_gn(width * 4, width * 2)
        self.up1, self.dec1 = nn.ConvTranspose2d(width * 2, width, 2, 2), conv_gn(width * 2, width)
        self.out = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Any:
        skip1 = self.enc1(x)
        skip2 = self.enc2(self.down1(skip1))
        out = self.mid(self.down2(skip2))
        out = self.dec2(torch.cat([self.up2(out), skip2], dim=1))
        out = self.dec1(torch.cat([self.up1(out), skip1], dim=1))
        return self.out(out)


class LayerNorm2d(nn.LayerNorm):
    """Over the channels of an image whose channels come first."""

    def forward(self, x: Tensor) -> Tensor:
        out = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return out.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.act, self.pwconv2 = nn.Linear(width, width * 4), nn.GELU(), nn.Linear(width * 4, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Any:
        out = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        out = self.gamma * self.pwconv2(self.act(self.pwconv1(out)))
        return x + out.permute(0, 3, 1, 2)


def convnext(width: int = 16) -> nn.Sequential:
    stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), LayerNorm2d(width, eps=1e-6))
    down = nn.Sequential(LayerNorm2d(width, eps=1e-6), nn.Conv2d(width, width * 2, 2, 2))
    blocks = [ConvNeXtBlock(width), ConvNeXtBlock(width), down, ConvNeXtBlock(width * 2)]
    last = [nn.AdaptiveAvgPool2d(1), LayerNorm2d(width * 2, eps=1e-6), nn.Flatten(), nn.Linear(width * 2, 10)]
    return named(stem=stem, stages=nn.Sequential(*blocks), head=nn.Sequential(*last))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, linear: bool) -> None:
        super().__init__()
        few = channels // 4
        self.fc1 = nn.Linear(channels, few) if linear else nn.Conv2d(channels, few, 1)
        self.fc2 = nn.Linear(few, channels) if linear else nn.Conv2d(few, channels, 1)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3)) if self.linear else F.adaptive_avg_pool2d(x, 1)
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(mean))))
        return x * (gate[:, :, None, None] if self.linear else gate)


def squeeze_excite(width: int = 16) -> nn.Sequential:
    first = nn.Sequential(conv_bn(3, width, 3, stride=2), SqueezeExcite(width, linear=False))
    second = nn.Sequential(conv_bn(width, width * 2, 3, stride=2), SqueezeExcite(width * 2, linear=True))
    return named(block1=first, block2=second, head=pooled_head(width * 2))


def conv1d(width: int = 8) -> nn.Sequential:
    first = [nn.Conv1d(1, width, 16, 4), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2)]
    second = [nn.Conv1d(width, width * 2, 3, padding=2, dilation=2), nn.BatchNorm1d(width * 2), nn.ReLU()]
    return nn.Sequential(*first, *second, nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(width * 8, 10))


def conv3d(width: int = 8) -> nn.Sequential:
    first = [nn.Conv3d(1, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU(), nn.MaxPool3d(2)]
    second = [nn.Conv3d(width, width * 2, 3, padding=1), nn.BatchNorm3d(width * 2), nn.ReLU()]
    return nn.Sequential(*first, *second, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(width * 2, 10))


def autoencoder(width: int = 8) -> nn.Sequential:
    encoder = nn.Sequential(conv_bn(3, width, 3, stride=2), conv_bn(width, width * 2, 3, stride=2))
    up = nn.ConvTranspose2d(width * 2, width, 4, 2, 1)
    last = nn.ConvTranspose2d(width, 3, 4, 2, 1)
    return named(encoder=encoder, decoder=nn.Sequential(up, nn.BatchNorm2d(width), nn.ReLU(), last, nn.Sigmoid()))


class Generator(nn.Module):
    """Noise to images. A fixed one has its number of channels written into `forward`."""

    def __init__(self, width: int = 16, fixed: bool = False) -> None:
        super().__init__()
        self.fc, self.channels = nn.Linear(20, width * 16), width if fixed else -1
        up = nn.ConvTranspose2d(width, width // 2, 4, 2, 1)
        self.up = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), up, nn.BatchNorm2d(width // 2), nn.LeakyReLU(0.2))
        self.last = nn.ConvTranspose2d(width // 2, 3, 4, 2, 1)

    def forward(self, noise: Tensor) -> Tensor:
        image = self.fc(noise).view(noise.shape[0], self.channels, 4, 4)
        return torch.tanh(self.last(self.up(image)))


class MultiOutput(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.early, self.late = conv_bn(3, width, 3, stride=2), conv_bn(width, width * 2, 3, stride=2)
        self.mask, self.head = nn.Conv2d(width, 1, 1), pooled_head(width * 2)

    def forward(self, x: Tensor) -> dict[str, Any]:
        early = self.early(x)
        features = self.late(early)
        return {"logits": self.head(features), "features": (self.mask(early), features)}


class TwoInputs(nn.Module):
    """An image and a vector: `forward` takes two arguments."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.image = nn.Sequential(conv_bn(3, width, 3, stride=2), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.vector = nn.Sequential(nn.Linear(5, width), nn.ReLU())
        self.head = nn.Linear(width * 5, 10)

    def forward(self, image: Tensor, vector: Tensor) -> Any:
        return self.head(torch.cat([self.image(image), self.vector(vector)], dim=1))


class InceptionBlock(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one = conv_bn(inputs, width, 1)
        self.three = nn.Sequential(conv_bn(inputs, width, 1), conv_bn(width, width * 2, 3))
        self.five = nn.Sequential(conv_bn(inputs, width // 2, 1), conv_bn(width // 2, width, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(inputs, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


def inception(width: int = 8) -> nn.Sequential:
    blocks = nn.Sequential(InceptionBlock(width, width), InceptionBlock(width * 5, width))
    return named(stem=conv_bn(3, width, 3, stride=2), blocks=blocks, head=pooled_head(width * 5))


class SharedConv(nn.Module):
    """One convolution, called twice."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem, self.shared, self.head = conv_bn(3, width, 3), nn.Conv2d(width, width, 3, 2, 1), pooled_head(width)

    def forward(self, x: Tensor) -> Any:
        return self.head(F.relu(self.shared(F.relu(self.shared(self.stem(x))))))


def prelu(width: int = 8) -> nn.Sequential:
    first = [nn.Conv2d(3, width, 3, 2, 1), nn.PReLU(width)]
    second = [nn.Conv2d(width, width * 2, 3, 2, 1), nn.BatchNorm2d(width * 2), nn.PReLU(width * 2)]
    return nn.Sequential(*first, *second, nn.Conv2d(width * 2, width, 1), nn.PReLU(), pooled_head(width))


def instance_norm(width: int = 8, tracked: bool = False) -> nn.Sequential:
    def layer(inputs: int, outputs: int) -> list[nn.Module]:
        norm = nn.InstanceNorm2d(outputs, affine=True, track_running_stats=tracked)
        return [nn.Conv2d(inputs, outputs, 3, 2, 1), norm, nn.ReLU()]

    return nn.Sequential(*layer(3, width), *layer(width, width * 2), nn.Flatten(), nn.Linear(width * 2 * 64, 10))


def nonzero_at_zero(width: int = 8) -> nn.Sequential:
    """Sigmoid, softplus and hardsigmoid of a channel that is gone are not zero, but the padding after them is."""
    acts: list[nn.Module] = [nn.Sigmoid(), nn.Softplus(), nn.Hardsigmoid()]
    layers = [conv_bn(inputs, width, 3, act) for inputs, act in zip((3, width, width), acts, strict=True)]
    layers.append(conv_bn(width, width, 3, nn.ELU()))
    head = [nn.MaxPool2d(8), nn.Flatten(), nn.Linear(width * 16, 10)]
    return named(layers=nn.Sequential(*layers), head=nn.Sequential(*head))


class Chunked(nn.Module):
    """Half of the channels go through blocks, one after another, and all that comes out is joined (YOLO's C2f)."""

    def __init__(self, width: int = 8, depth: int = 2) -> None:
        super().__init__()
        self.enter = conv_bn(3, width * 2, 3, stride=2)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv_bn(width, width, 3), conv_bn(width, width, 3)) for _ in range(depth)
        )
        self.leave, self.head = conv_bn(width * (2 + depth), width, 1), pooled_head(width)

    def forward(self, x: Tensor) -> Any:
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.head(self.leave(torch.cat(parts, 1)))
