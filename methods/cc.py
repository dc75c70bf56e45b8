"""CC: the correlation between the samples of a batch shall be that of the teacher."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class CC(Method):
    """CE + weight * the distance between the kernel matrices of the embeddings of a batch."""

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
        """The kernel of the paper with the values of the most used public code that has it."""

        form: Literal["kernel", "neighbours"] = "kernel"
        """``neighbours`` is the loss that the CRD benchmark ran."""
        weight: float = 100.0
        gamma: float = 0.4
        """Of ``kernel``: exp(-gamma * squared distance)."""
        order: int = 2
        """Of ``kernel``: where its Taylor series ends."""
        dimensions: int = 128
        """Of ``neighbours``: to how many both embeddings are mapped."""

        def __post_init__(self) -> None:
            if self.form not in ("kernel", "neighbours"):
                raise ValueError(f"form must be kernel or neighbours, not {self.form!r}")
            for field, least in (("weight", 0), ("order", 1), ("dimensions", 1)):
                if not getattr(self, field) >= least:
                    raise ValueError(f"{field} must be at least {least}")
            if not self.gamma > 0:
                raise ValueError(f"gamma must be positive, not {self.gamma}")

    config: Config
    presets = MappingProxyType({"crd": Config(form="neighbours", weight=0.02)})

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        if config.form == "neighbours":
            self.student_map = nn.Linear(student.embedding, config.dimensions)
            self.teacher_map = nn.Linear(teacher.embedding, config.dimensions)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
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
    """The squared difference of the kernel matrices over B^2: (B, D) and (B, D') -> scalar."""
    return F.mse_loss(correlations(student, gamma, order), correlations(teacher, gamma, order))


def correlations(x: Tensor, gamma: float, order: int) -> Tensor:
    """The Gaussian kernel of embeddings of length 1, as a Taylor series: (B, D) -> (B, B).

    exp(-gamma ||x - y||^2) = exp(-2 gamma) exp(2 gamma x.y), the second factor up to ``order``.
    """
    unit = unit_rows(x)
    exponent = 2 * gamma * (unit @ unit.T)
    series = exponent.new_ones(())
    for p in range(order, 0, -1):
        series = 1 + exponent / p * series
    return math.exp(-2 * gamma) * series


def neighbour_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over i of |s - t| of sample i times that of i + 1: (B, D) twice -> scalar.

    Not in the paper: what its authors gave to those of the CRD benchmark.
    """
    difference = (student - teacher).abs()
    return (difference[:-1] * difference[1:]).sum() / max(1, len(student) - 1)
