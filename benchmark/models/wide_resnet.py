"""Wide ResNets (Zagoruyko and Komodakis, BMVC 2016), with the state_dict keys of the CRD benchmark.

These are pre-activation networks: what a stage returns has not yet met a batch norm, and the one
that follows it belongs to the next stage (or is the final ``bn1``). A stage's preact is that batch
norm's output. It is computed once and used twice. Applying the batch norm a second time, as the
public code of several papers does, would update its running statistics twice a step.

The CRD benchmark's code uses the maps before that batch norm, which have both signs. They are kept
for the methods' presets of that benchmark.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.network import Network
from benchmark.models.resnet import conv3x3
from methods.interface import Features


class WideUnit(nn.Module):
    """BN-ReLU-conv twice beside a shortcut, which leaves after the ReLU where widths differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.convShortcut: nn.Module | None = None  # the key in published checkpoints
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, raw: Tensor, activation: Tensor) -> Tensor:
        """``activation`` is ReLU(bn1(raw)), which the caller has computed."""
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activation))))
        shortcut: Tensor = raw if self.convShortcut is None else self.convShortcut(activation)
        return out + shortcut


class WideStage(nn.Module):
    """Units, the first of which changes width and resolution."""

    def __init__(self, inputs: int, outputs: int, units: int, stride: int) -> None:
        super().__init__()
        first = WideUnit(inputs, outputs, stride)
        self.layer = nn.Sequential(
            first, *(WideUnit(outputs, outputs, 1) for _ in range(units - 1))
        )

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what enters the first ReLU, what leaves it, and the stage's raw output."""
        first, *others = (cast(WideUnit, unit) for unit in self.layer)
        preact = first.bn1(raw)
        entered = F.relu(preact)
        raw = first(raw, entered)
        for unit in others:
            raw = unit(raw, F.relu(unit.bn1(raw)))
        return preact, entered, raw


class WideResNet(Network):
    """WRN-depth-factor: depth = 6n + 4, a stem of 16 channels and three stages of n units."""

    def __init__(self, classes: int, *, depth: int, factor: int) -> None:
        super().__init__()
        units = (depth - 4) // 6
        widths = (16, 16 * factor, 32 * factor, 64 * factor)
        self.conv1 = conv3x3(3, widths[0])
        steps = zip(pairwise(widths), (1, 2, 2), strict=True)
        self.block1, self.block2, self.block3 = (
            WideStage(inputs, outputs, units, stride) for (inputs, outputs), stride in steps
        )
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        nn.init.zeros_(self.fc.bias)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.fc

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm that returns each preact."""
        first_units = (cast(WideUnit, block.layer[0]) for block in (self.block2, self.block3))
        return (*(unit.bn1 for unit in first_units), self.bn1)

    @property
    def behind_stages(self) -> tuple[nn.Module, ...]:
        """The last batch norm, which returns the last preact, and the classifier."""
        return (self.bn1, self.fc)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W)."""
        raw = self.conv1(x)
        raws, preacts, activations = [raw], [], []
        for block in (self.block1, self.block2, self.block3):
            preact, entered, raw = block(raw)
            preacts.append(preact)
            activations.append(entered)
            raws.append(raw)
        preacts.append(self.bn1(raw))
        activations.append(F.relu(preacts[-1]))
        embedding = F.adaptive_avg_pool2d(activations[-1], 1).flatten(1)
        # What enters a stage is what the stage before it returns; what enters the first is the
        # stem.
        stem, *stages = activations
        return Features(
            stem, tuple(stages), tuple(preacts[1:]), embedding, self.fc(embedding), tuple(raws)
        )


NETWORKS = {
    f"wrn_{depth}_{factor}": partial(WideResNet, depth=depth, factor=factor)
    for depth, factor in ((16, 1), (16, 2), (16, 4), (22, 4), (28, 2), (28, 4), (40, 1), (40, 2))
}
