"""SemCKD: match every student stage with every teacher stage, weighted by attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive
from methods.blocks.normalise import Norm
from methods.blocks.pairing import pool_to_smaller
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes
from methods.kd import kl_divergence


class SemCKD(Method):
    """CE + kd_weight T^2 KL + weight times the attention-weighted distances of stages."""

    name = "semckd"
    version = 1
    paper = Paper(
        "Chen, Mei, Zhang, Wang, Wang, Feng and Chen",
        "Cross-Layer Distillation with Semantic Calibration",
        "AAAI",
        2021,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' CIFAR-100 script."""

        weight: float = 400.0
        kd_weight: float = 1.0
        temperature: float = 4.0

        def __post_init__(self) -> None:
            require_positive(self, "temperature")
            require_non_negative(self, "weight", "kd_weight")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes, batch_size: int) -> None:
        super().__init__(config, student, teacher)
        self.batch_size = batch_size
        self.queries = nn.ModuleList(_row_embedding(batch_size) for _ in student.stages)
        self.keys = nn.ModuleList(_row_embedding(batch_size) for _ in teacher.stages)
        self.translators = nn.ModuleList(
            nn.ModuleList(translator(s[0], t[0]) for t in teacher.stages) for s in student.stages
        )

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        distances = self.distances(student.stages, teacher.stages)
        attention = self.attention(student.stages, teacher.stages)
        temperature = self.config.temperature
        kl = kl_divergence(student.logits, teacher.logits, temperature)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "kd": self.config.kd_weight * temperature**2 * kl,
            "semckd": self.config.weight * calibrated_loss(distances, attention),
        }

    def attention(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Weights of the pairs of stages: S and T maps -> (B, S, T), rows sum to 1."""
        queries = self._embedded(self.queries, student)
        keys = self._embedded(self.keys, teacher)
        return F.softmax(queries @ keys.transpose(1, 2), dim=2)

    def _embedded(self, embeddings: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
        pairs = zip(embeddings, maps, strict=True)
        rows = [embed(batch_similarities(x, self.batch_size)) for embed, x in pairs]
        return F.normalize(torch.stack(rows, dim=1), dim=2)

    def distances(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Mean squared differences of all pairs of stages: S and T maps -> (B, S, T)."""
        rows = []
        for translators, s in zip(self.translators, student, strict=True):
            pairs = zip(cast(nn.ModuleList, translators), teacher, strict=True)
            rows.append(torch.stack([_distance(translate, s, t) for translate, t in pairs], dim=1))
        return torch.stack(rows, dim=1)


def batch_similarities(x: Tensor, width: int) -> Tensor:
    """Inner products of the samples' maps within the batch: (B, C, H, W) -> (B, width).

    A batch shorter than ``width`` is filled up with zeros, as if by orthogonal samples.
    """
    flat = x.flatten(1)
    products = flat @ flat.T
    return torch.cat([products, products.new_zeros(len(x), width - len(x))], dim=1)


def calibrated_loss(distances: Tensor, attention: Tensor) -> Tensor:
    """(B, S, T) twice -> scalar: sum over the teacher's stages, mean over the student's and B.

    The reduction is that of the authors' code, as is the weight of 400.
    """
    return (attention * distances).sum(dim=2).mean()


def translator(student_channels: int, teacher_channels: int) -> nn.Module:
    """The authors' 1x1, 3x3 and 1x1 convolutions, twice the teacher's width inside."""
    middle = 2 * teacher_channels
    return nn.Sequential(
        nn.Conv2d(student_channels, middle, 1, bias=False),
        Norm(middle),
        nn.ReLU(),
        nn.Conv2d(middle, middle, 3, padding=1, bias=False),
        Norm(middle),
        nn.ReLU(),
        nn.Conv2d(middle, teacher_channels, 1, bias=False),
    )


def _distance(translate: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = pool_to_smaller(student, teacher)
    difference: Tensor = translate(student) - teacher
    return difference.square().flatten(1).mean(dim=1)


def _row_embedding(width: int) -> nn.Module:
    outputs = max(1, width // 4)
    return nn.Sequential(nn.Linear(width, 2 * outputs), nn.ReLU(), nn.Linear(2 * outputs, outputs))
