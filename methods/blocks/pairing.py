"""Pair the feature maps of two networks: stage with stage, at equal sizes and widths."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import Norm
from methods.interface import Features, Shapes, View

MapShape = tuple[int, int, int]
"""Channels, height and width of a feature map."""

# ---------------------------------------------------------------- stages


def stage_pairs(
    student: Features, teacher: Features, view: View = "stages"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair the stages of two networks in order: (student's map, teacher's map) of each."""
    return zip(student.viewed(view).stages, teacher.viewed(view).stages, strict=True)


def stage_count_mismatch(student: Shapes, teacher: Shapes) -> str | None:
    """Return why stages cannot be paired one to one, or None if they can."""
    if len(student.stages) == len(teacher.stages):
        return None
    return f"numbers of stages differ: student {len(student.stages)}, teacher {len(teacher.stages)}"


def halving_sum(losses: Sequence[Tensor]) -> Tensor:
    """Sum the stages' losses with weights 1 for the last, 1/2 for the one before it, 1/4 ..."""
    weights = [0.5**i for i in reversed(range(len(losses)))]
    return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()


# ---------------------------------------------------------------- sizes


def pool_to_smaller(
    a: Tensor, b: Tensor, how: Literal["avg", "max"] = "avg"
) -> tuple[Tensor, Tensor]:
    """Pool the larger of two maps (B, C, H, W) to the height and width of the smaller."""
    size = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
    return _pool(a, size, how), _pool(b, size, how)


def _pool(x: Tensor, size: tuple[int, int], how: Literal["avg", "max"]) -> Tensor:
    (height, width), (to_height, to_width) = x.shape[2:], size
    if (height, width) == size:
        return x
    plain, adaptive = _POOLS[how]
    if height % to_height == 0 and width % to_width == 0:
        # The same windows as adaptive pooling, whose gradient is not deterministic on a GPU.
        return plain(x, (height // to_height, width // to_width))
    return adaptive(x, size)


_POOLS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "avg": (F.avg_pool2d, F.adaptive_avg_pool2d),
    "max": (F.max_pool2d, F.adaptive_max_pool2d),
}

# ---------------------------------------------------------------- connectors


def conv1x1_norm(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 convolution without bias, then batch norm: the connector of AB's and OFD's authors."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, Norm(outputs))


def conv_regressor(student: MapShape, teacher: MapShape) -> nn.Sequential:
    """Convolution to the teacher's shape, then batch norm: the CRD benchmark's ``ConvReg``.

    The convolution is 3x3 with stride 2 where the student's map is twice as large, a transposed
    4x4 with stride 2 where it is half as large, else one without padding whose kernel fits. It has
    a bias and torch's default initialisation.
    Raises ValueError where none of them fits (see ``conv_regressor_mismatch``).
    """
    if reason := conv_regressor_mismatch(student, teacher):
        raise ValueError(reason)
    (channels, height, width), (to_channels, to_height, to_width) = student, teacher
    conv: nn.Module
    if (height, width) == (2 * to_height, 2 * to_width):
        conv = nn.Conv2d(channels, to_channels, 3, stride=2, padding=1)
    elif (2 * height, 2 * width) == (to_height, to_width):
        conv = nn.ConvTranspose2d(channels, to_channels, 4, stride=2, padding=1)
    else:
        conv = nn.Conv2d(channels, to_channels, (height - to_height + 1, width - to_width + 1))
    return nn.Sequential(conv, Norm(to_channels))


def conv_regressor_mismatch(student: MapShape, teacher: MapShape) -> str | None:
    """Return why ``conv_regressor`` has no convolution for these shapes, or None if it has one."""
    (_, height, width), (_, to_height, to_width) = student, teacher
    doubles = (2 * height, 2 * width) == (to_height, to_width)
    if doubles or (height >= to_height and width >= to_width):
        return None
    return (
        f"no regression from a student's map of {height}x{width} to a teacher's of "
        f"{to_height}x{to_width}: a smaller map can only be doubled"
    )
