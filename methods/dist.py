"""DIST: correlate with the teacher's predictions, rather than repeat them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase

_EPS = 1e-8  # the authors'; what correlates where probabilities hardly vary counts less by it


class DIST(Method):
    """CE + beta * (1 - correlation within samples) + gamma * (1 - correlation within classes)."""

    name = "dist"
    version = 1
    paper = Paper(
        "Huang, You, Wang, Qian and Xu",
        "Knowledge Distillation from A Stronger Teacher",
        "NeurIPS",
        2022,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' CIFAR-100 configuration; for ImageNet they have tau = 1."""

        beta: float = 2.0
        gamma: float = 2.0
        tau: float = 4.0

        def __post_init__(self) -> None:
            if not self.tau > 0:
                raise ValueError(f"tau must be positive, not {self.tau}")
            for field in ("beta", "gamma"):
                if not getattr(self, field) >= 0:
                    raise ValueError(f"{field} must not be negative, not {getattr(self, field)}")

    config: Config

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        beta, gamma, tau = self.config.beta, self.config.gamma, self.config.tau
        inter, intra = relation_losses(student.logits, teacher.logits, tau)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "inter": beta * tau**2 * inter,
            "intra": gamma * tau**2 * intra,
        }


def relation_losses(
    student_logits: Tensor, teacher_logits: Tensor, tau: float
) -> tuple[Tensor, Tensor]:
    """Inter-class and intra-class loss of the softmax at ``tau``: (B, K) twice -> two scalars.

    Inter: over the classes of each sample, mean over B. Intra: over the samples for each class,
    mean over K; zero for one sample. The factor tau^2 is left to the caller.
    """
    student = F.softmax(student_logits / tau, dim=1)
    teacher = F.softmax(teacher_logits / tau, dim=1)
    inter = (1 - correlation(student, teacher)).mean()
    if len(student) == 1:
        return inter, torch.zeros_like(inter)
    return inter, (1 - correlation(student.T, teacher.T)).mean()


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's, row by row: (N, M) twice -> (N,). A row that does not vary has 0, no gradient."""
    x = x - x.mean(dim=1, keepdim=True)
    y = y - y.mean(dim=1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1) * torch.linalg.vector_norm(y, dim=1)
    return (x * y).sum(dim=1) / (lengths + _EPS).masked_fill(lengths == 0, float("inf"))
