"""RKD: what counts is not where a sample lies but how far from the others, at which angles."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase


class RKD(Method):
    """CE + the distance-wise and the angle-wise loss of the embeddings of a batch."""

    name = "rkd"
    version = 1
    paper = Paper("Park, Kim, Lu and Cho", "Relational Knowledge Distillation", "CVPR", 2019)

    @dataclass(frozen=True)
    class Config:
        """The weights of the field's main CIFAR-100 table, with CE at 1."""

        distance: float = 25.0
        angle: float = 50.0

        def __post_init__(self) -> None:
            for field in ("distance", "angle"):
                if not getattr(self, field) >= 0:
                    raise ValueError(f"{field} must not be negative, not {getattr(self, field)}")

    config: Config

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        pair = student.embedding, teacher.embedding
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "distance": self.config.distance * distance_loss(*pair),
            "angle": self.config.angle * angle_loss(*pair),
        }


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-D, sec. 3.2.1: (B, D) and (B, D') -> scalar.

    The mean over all B^2 ordered pairs, the B of a sample with itself included (authors' code).
    """
    return F.smooth_l1_loss(distances(student), distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-A, sec. 3.2.2: (B, D) and (B, D') -> scalar.

    The mean over all B^3 ordered triples, also those that have no angle (authors' code).
    """
    return F.smooth_l1_loss(angles(student), angles(teacher))


def distances(x: Tensor) -> Tensor:
    """psi_D: (B, D) -> (B, B), in units of their mean over pairs of two samples."""
    distance: Tensor = torch.linalg.vector_norm(_differences(x), dim=2)
    mean = distance.sum() / max(1, len(x) * (len(x) - 1))
    return distance / mean.masked_fill(mean == 0, 1)  # zero where all samples coincide


def angles(x: Tensor) -> Tensor:
    """psi_A: (B, D) -> (B, B, B), at [i, j, k] the cosine at i between the ways to j and to k.

    Zero where i coincides with j or k.
    """
    ways = unit_rows(_differences(x))
    return ways @ ways.transpose(1, 2)


def _differences(x: Tensor) -> Tensor:
    return x[None, :] - x[:, None]
