"""CIFAR ResNets (He et al., CVPR 2016, section 4.2), with the CRD benchmark's state_dict keys."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.network import Network
from methods.interface import Features

Maps = tuple[Tensor, ...]
NARROW = (16, 16, 32, 64)
WIDE = (32, 64, 128, 256)  # the "x4" networks have a stem of 32, not 64


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution, padded, without a bias: a batch norm follows."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut. Returns its sum *before* the last ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        inner = F.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.bn2(self.conv2(inner))
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        return out + shortcut


class ResNet(Network):
    """depth = 6n + 2 layers: a stem and three stages of n basic blocks."""

    def __init__(self, classes: int, *, depth: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(3, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = basic_stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = basic_stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = basic_stage(widths[2], widths[3], blocks, stride=2)
        self.fc = nn.Linear(widths[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.fc

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact, before the shortcut is added."""
        stages = (self.layer1, self.layer2, self.layer3)
        return tuple(cast(BasicBlock, blocks[-1]).bn2 for blocks in stages)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W)."""
        x = stem = F.relu(self.bn1(self.conv1(x)))
        preacts, stages = run_stages(x, (self.layer1, self.layer2, self.layer3))
        embedding = F.adaptive_avg_pool2d(stages[-1], 1).flatten(1)
        return Features(stem, stages, preacts, embedding, self.fc(embedding))


def run_stages(x: Tensor, stages: Sequence[nn.Sequential]) -> tuple[Maps, Maps]:
    """Pass through blocks that return their sum; return the stages' preacts, then their outputs."""
    preacts, outputs = [], []
    for blocks in stages:
        for block in blocks:
            preact = block(x)
            x = F.relu(preact)
        preacts.append(preact)
        outputs.append(x)
    return tuple(preacts), tuple(outputs)


def basic_stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """Basic blocks, the first of which changes width and resolution."""
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


NETWORKS = {
    f"resnet{depth}": partial(ResNet, depth=depth, widths=NARROW)
    for depth in (8, 14, 20, 32, 44, 56, 110)
} | {f"resnet{depth}x4": partial(ResNet, depth=depth, widths=WIDE) for depth in (8, 32)}
