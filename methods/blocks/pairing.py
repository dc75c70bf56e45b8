"""How the maps of two networks are brought together: stage by stage, size to size."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import Norm
from methods.interface import Shapes

MapShape = tuple[int, int, int]


def pooled_alike(a: Tensor, b: Tensor, how: Literal["avg", "max"] = "avg") -> tuple[Tensor, Tensor]:
    """Pool the larger of two maps (B, C, H, W) to the height and width of the smaller."""
    size = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
    return _pooled(a, size, how), _pooled(b, size, how)


def _pooled(x: Tensor, size: tuple[int, int], how: Literal["avg", "max"]) -> Tensor:
    (height, width), (to_height, to_width) = x.shape[2:], size
    if (height, width) == size:
        return x
    plain, adaptive = _POOLS[how]
    if height % to_height == 0 and width % to_width == 0:
        # The same windows as the adaptive one has, whose gradient is not deterministic on a GPU.
        return plain(x, (height // to_height, width // to_width))
    return adaptive(x, size)


_POOLS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "avg": (F.avg_pool2d, F.adaptive_avg_pool2d),
    "max": (F.max_pool2d, F.adaptive_max_pool2d),
}


def unequal_stages(student: Shapes, teacher: Shapes) -> str | None:
    """Why stages cannot be paired one to one; None where they can."""
    if len(student.stages) == len(teacher.stages):
        return None
    return f"numbers of stages differ: student {len(student.stages)}, teacher {len(teacher.stages)}"


def regression(student: MapShape, teacher: MapShape) -> nn.Sequential:
    """Bring a map (C, H, W) to the teacher's shape: the CRD benchmark's convolution, then BN.

    By 3x3 with stride 2 where the map is twice as large, by a transposed 4x4 with stride 2 where
    it is half as large, else by a kernel without padding that fits; with bias, drawn as torch does.
    Raises ValueError where there is none of them (see ``beyond_regression``).
    """
    if reason := beyond_regression(student, teacher):
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


def beyond_regression(student: MapShape, teacher: MapShape) -> str | None:
    """Why ``regression`` has no convolution for these shapes; None where it has one."""
    (_, height, width), (_, to_height, to_width) = student, teacher
    doubles = (2 * height, 2 * width) == (to_height, to_width)
    if doubles or (height >= to_height and width >= to_width):
        return None
    return (
        f"no regression from a student's map of {height}x{width} to a teacher's of "
        f"{to_height}x{to_width}: it enlarges by two and by nothing else"
    )
