"""MobileNetV1 (Howard et al., 2017, arXiv:1704.04861, table 1), with mdistiller's state_dict keys.

The ImageNet network of the field's second pair, ResNet50 -> MobileNetV1. As there, the four stages
end before a stride, at a quarter to a thirty-second of the image like a ResNet's; the stem ends
before the first of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.mobilenetv2 import check_size, depthwise, pointwise
from benchmark.models.network import Network
from benchmark.models.resnet import conv3x3
from methods.interface import Features

# Outputs and stride of every unit after the first convolution.
UNITS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    *((512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1)),
)
STEM, ENDS = 1, (3, 5, 11, 13)  # the units after which the stem and the stages are over
SMALLEST = 32  # of which the strides leave one pixel


class MobileNetV1(Network):
    """A strided convolution, then thirteen separable ones; full width."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        width = 32
        units = [nn.Sequential(conv3x3(3, width, stride=2), nn.BatchNorm2d(width), nn.ReLU())]
        for outputs, stride in UNITS:
            units.append(separable_unit(width, outputs, stride))
            width = outputs
        self.model = nn.Sequential(*units)
        self.fc = nn.Linear(width, classes)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.fc

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm that returns each preact."""
        last_units = (cast(nn.Sequential, self.model[end]) for end in ENDS)
        return tuple(cast(nn.BatchNorm2d, unit[-2]) for unit in last_units)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W), H and W at least 32, else ``ValueError``."""
        check_size(self, x, SMALLEST)
        stages, preacts = [], []
        for i, unit in enumerate(cast("list[nn.Sequential]", self.model)):
            preact = unit[:-1](x)
            x = F.relu(preact)
            if i == STEM:
                stem = x
            if i in ENDS:
                preacts.append(preact)
                stages.append(x)
        embedding = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return Features(stem, tuple(stages), tuple(preacts), embedding, self.fc(embedding))


def separable_unit(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Depthwise, then pointwise convolution, each with a batch norm and a ReLU."""
    first = (depthwise(inputs, stride), nn.BatchNorm2d(inputs), nn.ReLU())
    return nn.Sequential(*first, pointwise(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU())


NETWORKS: dict[str, Callable[[int], Network]] = {"MobileNetV1": MobileNetV1}
