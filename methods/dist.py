"""DIST: maximise the correlation with the teacher's predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase

_EPS = 1e-8  # the authors'; it reduces the weight of rows whose probabilities hardly vary


class DIST(Method):
    """CE + tau^2 (beta (1 - inter-class correlation) + gamma (1 - intra-class correlation))."""

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
        """Defaults: the authors' CIFAR-100 configuration; for ImageNet they use tau = 1."""

        beta: float = 2.0
        gamma: float = 2.0
        tau: float = 4.0

        def __post_init__(self) -> None:
            require_positive(self, "tau")
            require_non_negative(self, "beta", "gamma")

    config: Config

    def phases(self, budget: Budget) -> Sequence[Phase]:
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
    """Inter-class and intra-class loss at temperature ``tau``: logits (B, K) twice -> two scalars.

    Inter-class: correlation over the classes, mean over samples. Intra-class: correlation over the
    samples, mean over classes; 0 for a batch of one. The factor tau^2 is left to the caller.
    """
    student = F.softmax(student_logits / tau, dim=1)
    teacher = F.softmax(teacher_logits / tau, dim=1)
    inter = (1 - correlation(student, teacher)).mean()
    if len(student) == 1:
        return inter, torch.zeros_like(inter)
    return inter, (1 - correlation(student.T, teacher.T)).mean()


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson correlation of rows: (N, M) twice -> (N,); constant rows give 0, without gradient."""
    x = x - x.mean(dim=1, keepdim=True)
    y = y - y.mean(dim=1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1) * torch.linalg.vector_norm(y, dim=1)
    return (x * y).sum(dim=1) / (lengths + _EPS).masked_fill(lengths == 0, float("inf"))
