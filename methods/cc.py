"""CC: match the correlations between the samples of a batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_positive
from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class CC(Method):
    """CE + weight times the distance between the kernel matrices of the embeddings."""

    name = "cc"
    version = 1
    paper = Paper(
        "Peng, Jin, Liu, Li, Wu, Liu, Zhou and Zhang",
        "Correlation Congruence for Knowledge Distillation",
        "ICCV",
        2019,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the paper's kernel with the values of the most used public code."""

        form: Literal["kernel", "neighbours"] = "kernel"
        """``kernel``: the paper's loss. ``neighbours``: the CRD benchmark's."""
        weight: float = 100.0
        gamma: float = 0.4
        """``kernel`` only: the kernel is exp(-gamma * squared distance)."""
        order: int = 2
        """``kernel`` only: the order of its Taylor series."""
        dimensions: int = 128
        """``neighbours`` only: the width that both embeddings are mapped to."""

        def __post_init__(self) -> None:
            require_positive(self, "gamma")
            for field, least in (("weight", 0), ("order", 1), ("dimensions", 1)):
                if not getattr(self, field) >= least:
                    raise ValueError(f"{field} must be at least {least}")

    config: Config
    presets = MappingProxyType({"crd": Config(form="neighbours", weight=0.02)})

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        if config.form == "neighbours":
            self.student_map = nn.Linear(student.embedding, config.dimensions)
            self.teacher_map = nn.Linear(teacher.embedding, config.dimensions)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        ce = F.cross_entropy(student.logits, batch.labels)
        s, t = student.embedding, teacher.embedding
        if self.config.form == "neighbours":
            loss = neighbour_loss(self.student_map(s), self.teacher_map(t))
            return {"ce": ce, "neighbours": self.config.weight * loss}
        loss = correlation_loss(s, t, self.config.gamma, self.config.order)
        return {"ce": ce, "cc": self.config.weight * loss}


def correlation_loss(student: Tensor, teacher: Tensor, gamma: float, order: int) -> Tensor:
    """Mean squared difference of the kernel matrices: (B, D), (B, D') -> scalar."""
    return F.mse_loss(kernel_matrix(student, gamma, order), kernel_matrix(teacher, gamma, order))


def kernel_matrix(x: Tensor, gamma: float, order: int) -> Tensor:
    """Gaussian kernel of normalised embeddings, as a Taylor series: (B, D) -> (B, B).

    exp(-gamma ||x - y||^2) = exp(-2 gamma) exp(2 gamma x.y); the second factor is expanded.
    """
    unit = unit_rows(x)
    exponent = 2 * gamma * (unit @ unit.T)
    series = exponent.new_ones(())
    for p in range(order, 0, -1):
        series = 1 + exponent / p * series
    return math.exp(-2 * gamma) * series


def neighbour_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over i of |s_i - t_i| . |s_{i+1} - t_{i+1}|: (B, D) twice -> scalar.

    Not in the paper: the CRD benchmark has this code from the paper's authors.
    """
    difference = (student - teacher).abs()
    return (difference[:-1] * difference[1:]).sum() / max(1, len(student) - 1)
