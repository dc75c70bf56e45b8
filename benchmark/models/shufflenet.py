"""ShuffleNets V1 and V2 for CIFAR, with the state_dict keys of the CRD benchmark.

V1: Zhang et al., CVPR 2018; V2: Ma et al., ECCV 2018. Both begin with a 1x1 convolution that keeps
the resolution; each of the three stages halves it in its first unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.mobilenetv2 import check_size, depthwise, pointwise
from benchmark.models.network import Network
from methods.interface import Features

STEM = 24
SMALLEST = 8  # of which the strides leave one pixel


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the groups of channels: (B, C, ...) to the same shape."""
    return torch.unflatten(x, 1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class GroupedUnit(nn.Module):
    """V1's bottleneck, section 3.2. Returns *before* the last ReLU.

    A unit with a stride concatenates its pooled input, which counts among its ``outputs``.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        new = outputs if stride == 1 else outputs - inputs
        inner = new // 4
        self.stride = stride
        # The paper does not group the first convolution: the stem has too few channels.
        self.groups = 1 if inputs == STEM else 3
        self.conv1 = pointwise(inputs, inner, self.groups)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = depthwise(inner, stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = pointwise(inner, new, groups=3)
        self.bn3 = nn.BatchNorm2d(new)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        inner = shuffle(F.relu(self.bn1(self.conv1(x))), self.groups)
        # The paper has no ReLU here; the CRD benchmark has.
        inner = F.relu(self.bn2(self.conv2(inner)))
        out: Tensor = self.bn3(self.conv3(inner))
        if self.stride == 1:
            return out + x
        return torch.cat([out, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1)


class ShuffleV1(Network):
    """ShuffleNet 1x with 3 groups."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = pointwise(3, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1 = grouped_stage(STEM, 240, units=4)
        self.layer2 = grouped_stage(240, 480, units=8)
        self.layer3 = grouped_stage(480, 960, units=4)
        self.linear = nn.Linear(960, classes)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.linear

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm behind each preact, before the shortcut is added."""
        layers = (self.layer1, self.layer2, self.layer3)
        return tuple(cast(GroupedUnit, layer[-1]).bn3 for layer in layers)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W), H and W at least 8, else ``ValueError``."""
        check_size(self, x, SMALLEST)
        x = stem = F.relu(self.bn1(self.conv1(x)))
        preacts, stages = [], []
        for layer in (self.layer1, self.layer2, self.layer3):
            for unit in layer:
                preact = unit(x)
                x = F.relu(preact)
            preacts.append(preact)
            stages.append(x)
        embedding = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return Features(stem, tuple(stages), tuple(preacts), embedding, self.linear(embedding))


def grouped_stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    """V1's stage."""
    first = GroupedUnit(inputs, outputs, stride=2)
    return nn.Sequential(first, *(GroupedUnit(outputs, outputs, 1) for _ in range(units - 1)))


class HalvingUnit(nn.Module):
    """V2's unit with a stride, figure 3d: two branches, joined. Returns before their ReLUs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = depthwise(inputs, stride=2)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = pointwise(inputs, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = pointwise(inputs, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = depthwise(half, stride=2)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = pointwise(half, half)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W), activations, to (B, outputs, H / 2, W / 2)."""
        left = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        right = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x)))))
        return join_halves(left, self.bn5(self.conv5(right)))


class SplitUnit(nn.Module):
    """V2's unit, figure 3c: half of the channels pass unchanged, the others are computed.

    Takes and returns *pre-activations*. A ReLU is applied where a channel is read, because the
    channel may pass several units unchanged and be part of the stage's preact.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = pointwise(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = depthwise(half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = pointwise(half, half)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, preact: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        passing, read = preact.chunk(2, dim=1)
        inner = F.relu(self.bn1(self.conv1(F.relu(read))))
        return join_halves(passing, self.bn3(self.conv3(self.bn2(self.conv2(inner)))))


def join_halves(left: Tensor, right: Tensor) -> Tensor:
    """Interleave two halves to V2's next channels: (B, C, ...) twice to (B, 2C, ...)."""
    return shuffle(torch.cat([left, right], dim=1), groups=2)


def crd_preact(preact: Tensor) -> Tensor:
    """Return a stage's preact as the CRD benchmark's code has it: (B, C, ...) to the same shape.

    It undoes the last unit's shuffle, and the half that passed unchanged is after its ReLU.
    """
    passing, computed = torch.unflatten(preact, 1, (-1, 2)).unbind(2)
    return torch.cat([F.relu(passing), computed], dim=1)


class ShuffleV2(Network):
    """ShuffleNet V2 1x; a convolution follows the last stage."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = pointwise(3, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1 = split_stage(STEM, 116, units=4)
        self.layer2 = split_stage(116, 232, units=8)
        self.layer3 = split_stage(232, 464, units=4)
        self.conv2 = pointwise(464, 1024)
        self.bn2 = nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, classes)

    @property
    def head(self) -> nn.Linear:
        """The classifier, which reads the embedding."""
        return self.linear

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """One for each preact, *copied* together: several units' batch norms are behind it."""
        return tuple(gather_norms(layer) for layer in (self.layer1, self.layer2, self.layer3))

    @property
    def behind_stages(self) -> tuple[nn.Module, ...]:
        """The last convolution, its batch norm and the classifier."""
        return (self.conv2, self.bn2, self.linear)

    def forward(self, x: Tensor) -> Features:
        """Run normalised images (B, 3, H, W), H and W at least 8, else ``ValueError``."""
        check_size(self, x, SMALLEST)
        x = stem = F.relu(self.bn1(self.conv1(x)))
        preacts, stages = [], []
        for layer in (self.layer1, self.layer2, self.layer3):
            preacts.append(layer(x))
            x = F.relu(preacts[-1])
            stages.append(x)
        last = F.relu(self.bn2(self.conv2(x)))
        embedding = F.adaptive_avg_pool2d(last, 1).flatten(1)
        return Features(
            stem,
            tuple(stages),
            tuple(preacts),
            embedding,
            self.linear(embedding),
            crd_preacts=tuple(map(crd_preact, preacts)),
        )


def split_stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    """V2's stage."""
    first = HalvingUnit(inputs, outputs)
    return nn.Sequential(first, *(SplitUnit(outputs) for _ in range(units - 1)))


def gather_norms(layer: nn.Sequential) -> nn.BatchNorm2d:
    """Copy the batch norm of every channel that a stage of V2 ends with into one."""
    keys = ("weight", "bias", "running_mean", "running_var")

    def rows(norm: nn.BatchNorm2d) -> Tensor:
        state = norm.state_dict()
        return torch.stack([state[key] for key in keys])

    first, *others = layer
    halving = cast(HalvingUnit, first)
    table = join_halves(rows(halving.bn2), rows(halving.bn5))
    for unit in others:
        passing, _ = table.chunk(2, dim=1)
        table = join_halves(passing, rows(cast(SplitUnit, unit).bn3))
    norm = nn.BatchNorm2d(table.shape[1]).to(table).requires_grad_(False)
    norm.load_state_dict(norm.state_dict() | dict(zip(keys, table, strict=True)))
    return norm


NETWORKS: dict[str, Callable[[int], Network]] = {"ShuffleV1": ShuffleV1, "ShuffleV2": ShuffleV2}
