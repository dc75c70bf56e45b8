"""The CIFAR ``ResNet50`` (He et al., CVPR 2016), with the state_dict keys of the CRD benchmark.

The ImageNet network's four stages of bottleneck blocks behind a 3x3 stem without pooling, so that
images of 32 pixels reach the last stage as 4x4. Not torchvision's ``resnet50``.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.network import Network
from benchmark.models.resnet import conv3x3, run_stages
from methods.interface import Features

EXPANSION = 4


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution without a bias: a batch norm follows."""
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut. Returns its sum *before* the last ReLU."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = conv1x1(inputs, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, outputs)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 4 width, H / stride, W / stride), rounded up."""
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        out: Tensor = self.bn3(self.conv3(inner))
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(x)
        return out + shortcut


class BottleneckResNet(Network):
    """A stem of 64 channels and four stages of ``depths`` bottleneck blocks."""

    def __init__(self, classes: int, *, depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = bottleneck_stage(64, 64, depths[0], stride=1)
        self.layer2 = bottleneck_stage(256, 128, depths[1], stride=2)
        self.layer3 = bottleneck_stage(512, 256, depths[2], stride=2)
        self.layer4 = bottleneck_stage(1024, 512, depths[3], stride=2)
        self.linear = nn.Linear(2048, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.linear

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact, before the shortcut is added."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return tuple(cast(BottleneckBlock, blocks[-1]).bn3 for blocks in stages)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W), of any size."""
        x = stem = F.relu(self.bn1(self.conv1(x)))
        preacts, stages = run_stages(x, (self.layer1, self.layer2, self.layer3, self.layer4))
        embedding = F.adaptive_avg_pool2d(stages[-1], 1).flatten(1)
        return Features(stem, stages, preacts, embedding, self.linear(embedding))


def bottleneck_stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Bottleneck blocks, the first of which changes width and resolution."""
    first = BottleneckBlock(inputs, width, stride)
    others = (BottleneckBlock(EXPANSION * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)


NETWORKS = {"ResNet50": partial(BottleneckResNet, depths=(3, 4, 6, 3))}
