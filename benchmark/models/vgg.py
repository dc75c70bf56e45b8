"""CIFAR VGGs with batch norms (Simonyan and Zisserman, ICLR 2015), with the CRD benchmark's keys.

Five blocks of convolutions, and one linear layer in place of the paper's three. A stage is a block
before its pooling: the first block, at full resolution, is the stem, and the other four are the
stages. This is how the CRD benchmark pairs them with the four stages of its ResNet50, MobileNetV2
and ShuffleNets. As there, nothing is pooled before the last block when images are smaller than 64
pixels: at 32 pixels the last two stages are both 4x4.
"""

from __future__ import annotations

import math
from functools import partial
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.network import Network
from methods.interface import Features

WIDTHS = (64, 128, 256, 512, 512)
SMALLEST = 8  # three poolings leave one pixel of it
LARGE = 64  # from here on the last block is pooled into, too


class VGG(Network):
    """Five blocks of 3x3 convolutions, ``depths`` of them in each."""

    def __init__(self, classes: int, *, depths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.block0, self.block1, self.block2, self.block3, self.block4 = map(
            conv_block, inputs, WIDTHS, depths
        )
        self.classifier = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
                nn.init.zeros_(cast(Tensor, module.bias))
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.classifier

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm that returns each preact."""
        stages = (self.block1, self.block2, self.block3, self.block4)
        return tuple(cast(nn.BatchNorm2d, layers[-1]) for layers in stages)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W), H and W at least 8, else ``ValueError``."""
        height, width = x.shape[-2:]
        if min(height, width) < SMALLEST:
            raise ValueError(
                f"a VGG needs images of {SMALLEST}x{SMALLEST} pixels or more, not {height}x{width}"
            )
        x = stem = F.relu(self.block0(x))
        preacts, stages = [], []
        for layers in (self.block1, self.block2, self.block3, self.block4):
            if layers is not self.block4 or min(height, width) >= LARGE:
                x = F.max_pool2d(x, 2)
            preact = layers(x)
            x = F.relu(preact)
            preacts.append(preact)
            stages.append(x)
        embedding = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return Features(stem, tuple(stages), tuple(preacts), embedding, self.classifier(embedding))


def conv_block(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """Conv-BN-ReLU ``depth`` times, *without* the last ReLU."""
    layers: list[nn.Module] = []
    for position in range(depth):
        conv = nn.Conv2d(inputs if position == 0 else outputs, outputs, 3, padding=1)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


NETWORKS = {
    name: partial(VGG, depths=depths)
    for name, depths in {
        "vgg8": (1, 1, 1, 1, 1),
        "vgg11": (1, 1, 2, 2, 2),
        "vgg13": (2, 2, 2, 2, 2),
        "vgg16": (2, 2, 3, 3, 3),
        "vgg19": (2, 2, 4, 4, 4),
    }.items()
}
