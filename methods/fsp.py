"""FSP: imitate how the teacher's features flow from one layer to the next, then learn the task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from methods.blocks.pairing import pooled_alike, unequal_stages
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View
from methods.scratch import task_loss

Pooling = Literal["max", "avg"]
Reduction = Literal["sum", "mean"]


class FSP(Method):
    """Initialise by matching FSP matrices, then train on the labels alone."""

    name = "fsp"
    version = 1
    paper = Paper(
        "Yim, Joo, Bae and Kim",
        "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer "
        "Learning",
        "CVPR",
        2017,
    )

    @dataclass(frozen=True)
    class Config:
        """The paper gives no number for its lambda, but lowers the learning rate instead."""

        weight: float = 0.001
        """lambda of eq. 2, the same for all pairs; 1 diverges at the usual learning rates."""
        pooling: Pooling = "max"
        """What makes the maps of a pair equal in size."""
        reduction: Reduction = "sum"
        """Over the entries of a matrix: the squared Frobenius norm of eq. 2, or their mean."""
        view: View = "stages"
        """Which maps are read: ours, or the CRD benchmark's, which are others on wide ResNets."""
        init_share: float = 0.125
        """How much of the budget the initialising phase gets: 30 of 240 epochs."""

        def __post_init__(self) -> None:
            if not self.weight > 0:
                raise ValueError(f"weight must be positive, not {self.weight}")
            if self.pooling not in ("max", "avg"):
                raise ValueError(f"pooling must be max or avg, not {self.pooling}")
            if self.reduction not in ("sum", "mean"):
                raise ValueError(f"reduction must be sum or mean, not {self.reduction}")
            if self.view not in get_args(View):
                raise ValueError(f"view must be stages or crd, not {self.view}")
            if not 0 < self.init_share < 1:
                raise ValueError(f"init_share must lie between 0 and 1, not {self.init_share}")

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {
        "crd": Config(weight=1.0, pooling="avg", reduction="mean", view="crd")
    }

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
        pooling, reduction = self.config.pooling, self.config.reduction
        seen, shown = student.viewed(self.config.view), teacher.viewed(self.config.view)
        matrices = flow_matrices(seen, pooling), flow_matrices(shown, pooling)
        return {"fsp": self.config.weight * flow_loss(*matrices, reduction)}


def flow_matrices(features: Features, pooling: Pooling = "max") -> list[Tensor]:
    """FSP matrices (B, C_i, C_j) between what enters and what leaves each stage."""
    return [flow_matrix(a, b, pooling) for a, b in pairwise((features.stem, *features.stages))]


def flow_matrix(first: Tensor, second: Tensor, pooling: Pooling = "max") -> Tensor:
    """Eq. 1, products averaged over positions: (B, C, H, W), (B, D, H', W') -> (B, C, D).

    Where the sizes differ the larger map is pooled: by the maximum in the paper (sec. 4).
    """
    first, second = pooled_alike(first, second, how=pooling)
    positions = first.shape[2] * first.shape[3]
    return first.flatten(2) @ second.flatten(2).transpose(1, 2) / positions


def flow_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], reduction: Reduction = "sum"
) -> Tensor:
    """Eq. 2, lambda = 1: matrices (B, C_i, C_j) in pairs -> scalar.

    Squared Frobenius distances, summed over pairs, mean over the batch. With ``mean``, which is
    the CRD benchmark's, each is divided by the number of its matrix's entries.
    """
    squares = [(t - s).square() for s, t in zip(student, teacher, strict=True)]
    if reduction == "mean":
        return torch.stack([square.mean() for square in squares]).sum()
    return torch.stack([square.sum(dim=(1, 2)).mean() for square in squares]).sum()


def _widths(shapes: Shapes) -> str:
    return "-".join(str(channels) for channels, _, _ in (shapes.stem, *shapes.stages))
