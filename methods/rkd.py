"""RKD: match the distances and angles between the embeddings of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative
from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase


class RKD(Method):
    """CE + distance * RKD-D + angle * RKD-A."""

    name = "rkd"
    version = 1
    paper = Paper("Park, Kim, Lu and Cho", "Relational Knowledge Distillation", "CVPR", 2019)

    @dataclass(frozen=True)
    class Config:
        """Defaults: the weights of the CRD benchmark's CIFAR-100 table, with CE at 1."""

        distance: float = 25.0
        angle: float = 50.0

        def __post_init__(self) -> None:
            require_non_negative(self, "distance", "angle")

    config: Config
    presets = MappingProxyType({"crd": Config()})

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        pair = student.embedding, teacher.embedding
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "distance": self.config.distance * distance_loss(*pair),
            "angle": self.config.angle * angle_loss(*pair),
        }


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-D, sec. 3.2.1: (B, D), (B, D') -> scalar.

    The mean over all B^2 ordered pairs, a sample with itself included (authors' code).
    """
    return F.smooth_l1_loss(pairwise_distances(student), pairwise_distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-A, sec. 3.2.2: (B, D), (B, D') -> scalar.

    The mean over all B^3 ordered triples, those without an angle included (authors' code).
    """
    return F.smooth_l1_loss(angle_cosines(student), angle_cosines(teacher))


def pairwise_distances(x: Tensor) -> Tensor:
    """psi_D: (B, D) -> (B, B), divided by the mean over pairs of different samples."""
    distance: Tensor = torch.linalg.vector_norm(_differences(x), dim=2)
    mean = distance.sum() / max(1, len(x) * (len(x) - 1))
    return distance / mean.masked_fill(mean == 0, 1)  # all distances are 0 then


def angle_cosines(x: Tensor) -> Tensor:
    """psi_A: (B, D) -> (B, B, B); [i, j, k] is the cosine of the angle at i between j and k.

    Zero where i coincides with j or k.
    """
    directions = unit_rows(_differences(x))
    return directions @ directions.transpose(1, 2)


def _differences(x: Tensor) -> Tensor:
    return x[None, :] - x[:, None]
