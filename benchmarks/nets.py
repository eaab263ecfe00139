"""Networks that benchmarks measure, in plain torch, as their papers have them."""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (K. He et al., 2015)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(inputs, width, 3, stride), nn.ReLU(), convolution(width, width, 3))
        self.shortcut = nn.Identity() if stride == 1 and inputs == width else convolution(inputs, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, four times as wide at its end."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * 4
        middle = nn.Sequential(
            convolution(inputs, width, 1), nn.ReLU(), convolution(width, width, 3, stride), nn.ReLU()
        )
        self.body = nn.Sequential(middle, convolution(width, outputs, 1))
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


class Inverted(nn.Module):
    """A depthwise convolution between two 1x1 ones, widest in the middle (M. Sandler et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int) -> None:
        super().__init__()
        width = inputs * factor
        expand = [convolution(inputs, width, 1), nn.ReLU6()] if factor > 1 else []
        depthwise = [convolution(width, width, 3, stride, groups=width), nn.ReLU6()]
        self.body = nn.Sequential(*expand, *depthwise, convolution(width, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def resnet(block: type[Block] | type[Bottleneck], depths: tuple[int, ...], width: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = [convolution(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = width
    for stage, depth in enumerate(depths):
        for index in range(depth):
            layers.append(block(inputs, width << stage, 2 if stage and not index else 1))
            inputs = (width << stage) * block.expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def resnet18() -> nn.Sequential:
    return resnet(Block, (2, 2, 2, 2))


def resnet50() -> nn.Sequential:
    """With the stride in the 3x3 convolutions."""
    return resnet(Bottleneck, (3, 4, 6, 3))


def wide_resnet50() -> nn.Sequential:
    """ResNet-50 with twice its channels: 94 million parameters."""
    return resnet(Bottleneck, (3, 4, 6, 3), width=128)


def mobilenet_v2() -> nn.Sequential:
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    layers: list[nn.Module] = [convolution(3, 32, 3, 2), nn.ReLU6()]
    inputs = 32
    for factor, outputs, depth, stride in stages:
        for index in range(depth):
            layers.append(Inverted(inputs, outputs, 1 if index else stride, factor))
            inputs = outputs
    head = [convolution(inputs, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


def vgg16() -> nn.Sequential:
    """With BatchNorm: 138 million parameters, most of them in three linear layers (K. Simonyan, A. Zisserman, 2014)."""
    layers: list[nn.Module] = []
    inputs = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [convolution(inputs, width, 3), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    hidden = [nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers, nn.Flatten(), *hidden)
