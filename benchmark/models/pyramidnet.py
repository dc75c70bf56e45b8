"""PyramidNets (Han, Kim and Kim, CVPR 2017), with the keys of the overhaul paper's code.

Every unit is a little wider than the one before it, and a shortcut is filled up with zeros. A unit
begins with a batch norm that *no* ReLU follows, so where a stage's features are is a choice. It is
the overhaul paper's (Heo et al., ICCV 2019), whose margins need a batch norm before a ReLU:

- bottleneck units: the next stage's first ReLU, behind its first 1x1 convolution. It has the
  stage's resolution and a quarter of the next unit's width;
- basic units: the next stage's first batch norm. The ReLU that makes a feature of it is not in the
  network, whose next ReLU lies behind the strided convolution, at half the resolution.

The last stage ends in the network's own ``bn_final`` and ReLU. As in ``wide_resnet.py``, a preact
is computed once and used twice. The stem is read at the same place of the first stage.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.network import Network
from benchmark.models.resnet import conv3x3
from methods.interface import Features

STEM = 16


class PyramidUnit(nn.Module, ABC):
    """A residual branch in two parts, between which its preact can be seen, and a shortcut."""

    convolutions: ClassVar[int]
    expansion: ClassVar[int]

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    @abstractmethod
    def opening(self, raw: Tensor) -> Tensor:
        """The branch as far as the preact."""

    @abstractmethod
    def rest(self, preact: Tensor) -> Tensor:
        """The branch from the preact on."""

    @property
    @abstractmethod
    def norm(self) -> nn.BatchNorm2d:
        """The batch norm that returns the preact."""

    def forward(self, raw: Tensor, preact: Tensor) -> Tensor:
        """``preact`` is ``opening(raw)``, which the caller has computed."""
        out = self.rest(preact)
        shortcut = raw if self.stride == 1 else F.avg_pool2d(raw, self.stride, ceil_mode=True)
        return out + F.pad(shortcut, (0, 0, 0, 0, 0, out.shape[1] - shortcut.shape[1]))


class BasicPyramidUnit(PyramidUnit):
    """Two 3x3 convolutions."""

    convolutions = 2
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(stride)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn3 = nn.BatchNorm2d(width)

    def opening(self, raw: Tensor) -> Tensor:
        """(B, inputs, H, W) to the same shape."""
        preact: Tensor = self.bn1(raw)
        return preact

    def rest(self, preact: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, width, H / stride, W / stride), rounded up."""
        out: Tensor = self.bn3(self.conv2(F.relu(self.bn2(self.conv1(preact)))))
        return out

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The batch norm that returns the preact."""
        return self.bn1


class BottleneckPyramidUnit(PyramidUnit):
    """1x1, 3x3 and 1x1 convolutions."""

    convolutions = 3
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(stride)
        outputs = self.expansion * width
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(outputs)

    def opening(self, raw: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, width, H, W)."""
        preact: Tensor = self.bn2(self.conv1(self.bn1(raw)))
        return preact

    def rest(self, preact: Tensor) -> Tensor:
        """(B, width, H, W) to (B, 4 width, H / stride, W / stride), rounded up."""
        inner = F.relu(self.bn3(self.conv2(F.relu(preact))))
        out: Tensor = self.bn4(self.conv3(inner))
        return out

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The batch norm that returns the preact."""
        return self.bn2


class PyramidNet(Network):
    """A stem of 16 channels and three stages of units, ``alpha`` channels wider at the end."""

    def __init__(
        self,
        classes: int,
        *,
        depth: int,
        alpha: int,
        unit: type[BasicPyramidUnit] | type[BottleneckPyramidUnit],
    ) -> None:
        super().__init__()
        count = (depth - 2) // (3 * unit.convolutions)
        widths = [round(STEM + alpha * k / (3 * count)) for k in range(1, 3 * count + 1)]
        inputs = [STEM, *(unit.expansion * width for width in widths[:-1])]
        units = [
            unit(entering, width, stride=2 if k in (count, 2 * count) else 1)
            for k, (entering, width) in enumerate(zip(inputs, widths, strict=True))
        ]
        self.conv1 = conv3x3(3, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1 = nn.Sequential(*units[:count])
        self.layer2 = nn.Sequential(*units[count : 2 * count])
        self.layer3 = nn.Sequential(*units[2 * count :])
        self.bn_final = nn.BatchNorm2d(unit.expansion * widths[-1])
        self.fc = nn.Linear(unit.expansion * widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.fc

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm that returns each preact."""
        first_units = (cast(PyramidUnit, layer[0]) for layer in (self.layer2, self.layer3))
        return (*(unit.norm for unit in first_units), self.bn_final)

    @property
    def behind_stages(self) -> tuple[nn.Module, ...]:
        """The last batch norm, which returns the last preact, and the classifier."""
        return (self.bn_final, self.fc)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W), of any size."""
        raw = self.bn1(self.conv1(x))
        preacts = []
        for layer in (self.layer1, self.layer2, self.layer3):
            for position, unit in enumerate(cast("list[PyramidUnit]", layer)):
                preact = unit.opening(raw)
                if position == 0:
                    preacts.append(preact)
                raw = unit(raw, preact)
        preacts.append(self.bn_final(raw))
        stem, *stages = (F.relu(preact) for preact in preacts)
        last = stages[-1]
        # The published pooling, to the bit; an adaptive one adds in another order.
        embedding = F.avg_pool2d(last, last.shape[-2:]).flatten(1)
        return Features(stem, tuple(stages), tuple(preacts[1:]), embedding, self.fc(embedding))


NETWORKS = {
    "pyramidnet110_84": partial(PyramidNet, depth=110, alpha=84, unit=BasicPyramidUnit),
    "pyramidnet200_240": partial(PyramidNet, depth=200, alpha=240, unit=BottleneckPyramidUnit),
}
