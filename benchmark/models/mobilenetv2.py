"""MobileNetV2 for CIFAR (Sandler et al., CVPR 2018), with the CRD benchmark's state_dict keys.

A stage ends in a *linear* bottleneck: no activation follows its last batch norm, by design
(section 3.2 of the paper). What enters the activation that is not there is what leaves it, so a
stage is its own preact, and both are signed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.network import Network
from benchmark.models.resnet import conv3x3
from methods.interface import Features

# The paper's table 2, its 24-channel stride taken out: expansion, width, units, first stride.
GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
ENDS = (1, 2, 4, 6)  # the groups after which a stage is over: a stride follows, or nothing
EMBEDDING = 1280
SMALLEST = 16  # of which the strides leave one pixel


def pointwise(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    """1x1 convolution without a bias: a batch norm follows."""
    return nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)


def depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution of each channel by itself, padded, without a bias."""
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


def check_size(network: nn.Module, images: Tensor, smallest: int) -> None:
    """Raise ``ValueError`` where images (B, 3, H, W) are too small for a network's strides."""
    height, width = images.shape[-2:]
    if min(height, width) < smallest:
        name = type(network).__name__
        raise ValueError(
            f"{name} needs images of {smallest}x{smallest} pixels or more, not {height}x{width}"
        )


class InvertedResidual(nn.Module):
    """Expansion, depthwise and linear projection; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        # An expansion of 1 has its convolution too, unlike torchvision's: the checkpoints' keys.
        self.conv = nn.Sequential(
            pointwise(inputs, wide),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            depthwise(wide, stride),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            pointwise(wide, outputs),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride), with either sign."""
        out: Tensor = self.conv(x)
        return x + out if self.shortcut else out


class MobileNetV2(Network):
    """Half of the paper's width up to the last convolution; ReLU instead of ReLU6."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        width = 16
        self.conv1 = nn.Sequential(conv3x3(3, width, stride=2), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.ModuleList()
        for expansion, full, units, stride in GROUPS:
            self.blocks.append(bottleneck_group(width, full // 2, units, stride, expansion))
            width = full // 2
        self.conv2 = nn.Sequential(
            pointwise(width, EMBEDDING), nn.BatchNorm2d(EMBEDDING), nn.ReLU()
        )
        self.classifier = nn.Sequential(nn.Linear(EMBEDDING, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, 0.0, 0.01)
        nn.init.zeros_(self.head.bias)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return cast(nn.Linear, self.classifier[0])

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact, before the shortcut (if any) is added."""
        last_units = (cast(nn.Sequential, self.blocks[end])[-1] for end in ENDS)
        return tuple(cast(nn.BatchNorm2d, cast(InvertedResidual, u).conv[-1]) for u in last_units)

    @property
    def behind_stages(self) -> tuple[nn.Module, ...]:
        """The last convolution with its batch norm, and the classifier."""
        return (self.conv2, self.classifier)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W), H and W at least 16, else ``ValueError``."""
        check_size(self, x, SMALLEST)
        x = stem = self.conv1(x)
        stages = []
        for i, units in enumerate(self.blocks):
            x = units(x)
            if i in ENDS:
                stages.append(x)
        embedding = F.adaptive_avg_pool2d(self.conv2(x), 1).flatten(1)
        logits = self.head(embedding)
        return Features(stem, tuple(stages), tuple(stages), embedding, logits)


def bottleneck_group(
    inputs: int, outputs: int, units: int, stride: int, expansion: int
) -> nn.Sequential:
    """Inverted residuals, the first of which changes width and, with a stride, resolution."""
    first = InvertedResidual(inputs, outputs, stride, expansion)
    others = (InvertedResidual(outputs, outputs, 1, expansion) for _ in range(units - 1))
    return nn.Sequential(first, *others)


NETWORKS: dict[str, Callable[[int], Network]] = {"MobileNetV2": MobileNetV2}
