"""FSP: match the Gram matrices between layers (the flow), then train on the labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from methods.blocks.checks import require_positive, require_within
from methods.blocks.pairing import pool_to_smaller, stage_count_mismatch
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View
from methods.scratch import task_loss

Pooling = Literal["max", "avg"]
Reduction = Literal["sum", "mean"]


class FSP(Method):
    """Phase 1: weight times the distance between FSP matrices. Phase 2: CE alone."""

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
        """Defaults: ours. The paper gives no lambda; it lowers the learning rate instead."""

        weight: float = 0.001
        """lambda of eq. 2, equal for all pairs; 1 diverges at the usual learning rates."""
        pooling: Pooling = "max"
        """How the larger map of a pair is pooled."""
        reduction: Reduction = "sum"
        """Over a matrix: the squared Frobenius norm (eq. 2), or the mean of the squares."""
        view: View = "stages"
        """Whose feature maps are read, see ``methods.interface.View``."""
        init_share: float = 0.125
        """Share of the epochs that the first phase gets: 30 of 240."""

        def __post_init__(self) -> None:
            require_positive(self, "weight")
            require_within("(0, 1)", self, "init_share")

    config: Config
    presets = MappingProxyType(
        {"crd": Config(weight=1.0, pooling="avg", reduction="mean", view="crd")}
    )

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        if reason := stage_count_mismatch(student, teacher):
            return reason
        widths, teacher_widths = _describe_widths(student), _describe_widths(teacher)
        if widths != teacher_widths:
            return f"widths differ: student {widths}, teacher {teacher_widths}"
        return None

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Sec. 3.4, algorithm 1: stage 1, then stage 2 without a teacher."""
        init, task = budget.split(self.config.init_share)
        return [
            Phase("init", init, self._init, lr="constant"),
            Phase("task", task, task_loss, reads_teacher=False),
        ]

    def _init(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        pooling, reduction = self.config.pooling, self.config.reduction
        s, t = (flow_matrices(x.viewed(self.config.view), pooling) for x in (student, teacher))
        return {"fsp": self.config.weight * flow_loss(s, t, reduction)}


def flow_matrices(features: Features, pooling: Pooling = "max") -> list[Tensor]:
    """FSP matrices (B, C_i, C_j) between the input and the output of each stage."""
    return [flow_matrix(a, b, pooling) for a, b in pairwise((features.stem, *features.stages))]


def flow_matrix(first: Tensor, second: Tensor, pooling: Pooling = "max") -> Tensor:
    """Eq. 1, products averaged over positions: (B, C, H, W), (B, D, H', W') -> (B, C, D).

    The larger map is pooled first; the paper takes the maximum (sec. 4).
    """
    first, second = pool_to_smaller(first, second, how=pooling)
    positions = first.shape[2] * first.shape[3]
    return first.flatten(2) @ second.flatten(2).transpose(1, 2) / positions


def flow_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], reduction: Reduction = "sum"
) -> Tensor:
    """Eq. 2 with lambda = 1: one matrix (B, C_i, C_j) per stage, twice -> scalar.

    Squared Frobenius distances, sum over stages, mean over the batch. ``mean`` (the CRD
    benchmark's) divides each by the number of entries of its matrix.
    """
    squares = [(t - s).square() for s, t in zip(student, teacher, strict=True)]
    if reduction == "mean":
        return torch.stack([square.mean() for square in squares]).sum()
    return torch.stack([square.sum(dim=(1, 2)).mean() for square in squares]).sum()


def _describe_widths(shapes: Shapes) -> str:
    return "-".join(str(channels) for channels, _, _ in (shapes.stem, *shapes.stages))
