"""FSP: imitate how the teacher's features flow from one layer to the next, then learn the task."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from methods.at import pooled_alike, unequal_stages
from methods.interface import Batch, Budget, Features, Losses, Method, Phase, Shapes
from methods.scratch import task_loss


class FSP(Method):
    """Initialise by matching FSP matrices, then train on the labels alone."""

    name = "fsp"
    version = 1
    paper = (
        "Yim, Joo, Bae and Kim, A Gift from Knowledge Distillation: Fast Optimization, Network "
        "Minimization and Transfer Learning, CVPR 2017"
    )

    @dataclass(frozen=True)
    class Config:
        """The paper gives no number for its lambda, but lowers the learning rate instead."""

        weight: float = 0.001
        """lambda of eq. 2, the same for all pairs; 1 diverges at the usual learning rates."""
        init_share: float = 0.125
        """How much of the budget the initialising phase gets: 30 of 240 epochs."""

        def __post_init__(self) -> None:
            if not self.weight > 0:
                raise ValueError(f"weight must be positive, not {self.weight}")
            if not 0 < self.init_share < 1:
                raise ValueError(f"init_share must lie between 0 and 1, not {self.init_share}")

    config: Config

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """FSP matrices can be compared only where the widths agree."""
        if reason := unequal_stages(student, teacher):
            return reason
        if _widths(student) != _widths(teacher):
            return f"widths differ: student {_widths(student)}, teacher {_widths(teacher)}"
        return None

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Sec. 3.4, algorithm 1: stage 1, then stage 2, which needs no teacher."""
        init, task = budget.split(self.config.init_share)
        return [
            Phase("init", init, self._init, lr="constant"),
            Phase("task", task, task_loss, reads_teacher=False),
        ]

    def _init(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        loss = flow_loss(flow_matrices(student), flow_matrices(teacher))
        return {"fsp": self.config.weight * loss}


def flow_matrices(features: Features) -> list[Tensor]:
    """FSP matrices (B, C_i, C_j) between what enters and what leaves each stage."""
    return [flow_matrix(a, b) for a, b in pairwise((features.stem, *features.stages))]


def flow_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Eq. 1, products averaged over positions: (B, C, H, W), (B, D, H', W') -> (B, C, D).

    Where the sizes differ the larger map is max-pooled (sec. 4).
    """
    first, second = pooled_alike(first, second, how="max")
    positions = first.shape[2] * first.shape[3]
    return first.flatten(2) @ second.flatten(2).transpose(1, 2) / positions


def flow_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Eq. 2, lambda = 1: squared Frobenius distances, summed over pairs, mean over the batch."""
    pairs = zip(student, teacher, strict=True)
    return torch.stack([(t - s).square().sum(dim=(1, 2)).mean() for s, t in pairs]).sum()


def _widths(shapes: Shapes) -> str:
    return "-".join(str(channels) for channels, _, _ in (shapes.stem, *shapes.stages))
