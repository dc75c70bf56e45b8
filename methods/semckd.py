"""SemCKD: each stage of the student learns from all of the teacher's, by learnt attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import Norm
from methods.blocks.pairing import pooled_alike
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes
from methods.kd import kl_divergence


class SemCKD(Method):
    """CE + kd_weight T^2 KL + weight * the attention-weighted distances of all pairs of stages."""

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
        """The values of the authors' CIFAR-100 script."""

        weight: float = 400.0
        kd_weight: float = 1.0
        temperature: float = 4.0

        def __post_init__(self) -> None:
            for field in ("weight", "kd_weight"):
                if not getattr(self, field) >= 0:
                    raise ValueError(f"{field} must not be negative, not {getattr(self, field)}")
            if not self.temperature > 0:
                raise ValueError(f"temperature must be positive, not {self.temperature}")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes, batch_size: int) -> None:
        super().__init__(config, student, teacher)
        self.batch_size = batch_size
        self.queries = nn.ModuleList(_embedding(batch_size) for _ in student.stages)
        self.keys = nn.ModuleList(_embedding(batch_size) for _ in teacher.stages)
        self.translators = nn.ModuleList(
            nn.ModuleList(translator(s[0], t[0]) for t in teacher.stages) for s in student.stages
        )

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
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
        """How much each student stage heeds each teacher stage, S and T maps -> (B, S, T)."""
        queries = self._embedded(self.queries, student)
        keys = self._embedded(self.keys, teacher)
        return F.softmax(queries @ keys.transpose(1, 2), dim=2)

    def _embedded(self, embeddings: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
        pairs = zip(embeddings, maps, strict=True)
        rows = [embed(similarities(x, self.batch_size)) for embed, x in pairs]
        return F.normalize(torch.stack(rows, dim=1), dim=2)

    def distances(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The mean square of every translated pair of stages, S and T maps -> (B, S, T)."""
        rows = []
        for translators, s in zip(self.translators, student, strict=True):
            pairs = zip(cast(nn.ModuleList, translators), teacher, strict=True)
            rows.append(torch.stack([_distance(translate, s, t) for translate, t in pairs], dim=1))
        return torch.stack(rows, dim=1)


def similarities(x: Tensor, width: int) -> Tensor:
    """Inner products of each sample's map with those of the batch: (B, C, H, W) -> (B, width).

    What a short batch lacks counts as orthogonal: zeros.
    """
    flat = x.flatten(1)
    products = flat @ flat.T
    return torch.cat([products, products.new_zeros(len(x), width - len(x))], dim=1)


def calibrated_loss(distances: Tensor, attention: Tensor) -> Tensor:
    """(B, S, T) twice -> scalar: summed over the teacher's stages, mean over the student's and B.

    The paper's loss with the authors' reduction, which the weight of 400 goes with.
    """
    return (attention * distances).sum(dim=2).mean()


def translator(student_channels: int, teacher_channels: int) -> nn.Module:
    """The authors' bottleneck of 1x1, 3x3 and 1x1 convolutions, twice the teacher's width wide."""
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
    student, teacher = pooled_alike(student, teacher)
    difference: Tensor = translate(student) - teacher
    return difference.square().flatten(1).mean(dim=1)


def _embedding(width: int) -> nn.Module:
    outputs = max(1, width // 4)
    return nn.Sequential(nn.Linear(width, 2 * outputs), nn.ReLU(), nn.Linear(2 * outputs, outputs))
