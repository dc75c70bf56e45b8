"""Attention transfer: match where, not what, the teacher's activations are strong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.interface import Batch, Budget, Features, Losses, Method, Phase, Shapes


class AT(Method):
    """CE + beta * sum over stages of the distance between normalised attention maps."""

    name = "at"
    version = 1
    paper = (
        "Zagoruyko and Komodakis, Paying More Attention to Attention: Improving the Performance of "
        "Convolutional Neural Networks via Attention Transfer, ICLR 2017"
    )

    @dataclass(frozen=True)
    class Config:
        """The value of the authors' code, to which the form of the loss belongs."""

        beta: float = 1000.0

        def __post_init__(self) -> None:
            if not self.beta >= 0:
                raise ValueError(f"beta must not be negative, not {self.beta}")

    config: Config

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """Stage pairs with stage."""
        return unequal_stages(student, teacher)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        pairs = zip(student.stages, teacher.stages, strict=True)
        distance = torch.stack([attention_loss(s, t) for s, t in pairs]).sum()
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "at": self.config.beta * distance,
        }


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two attention maps: (B, C, H, W) and (B, C', H', W') -> scalar.

    The authors' code; sec. 3.1 has the norm itself. Maps that differ in size are pooled first.
    """
    student, teacher = pooled_alike(student, teacher)
    return F.mse_loss(attention_map(student), attention_map(teacher))


def attention_map(features: Tensor) -> Tensor:
    """Sec. 3.1, F_sum^2 of (B, C, H, W), normalised: (B, HW), each row of length 1.

    All-zero features give an all-zero map.
    """
    # The mean in place of the sum: the same after normalising, and it cannot overflow as soon.
    return F.normalize(features.square().mean(dim=1).flatten(1), dim=1)


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
