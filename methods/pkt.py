"""PKT: match how likely samples are each other's neighbours in the two feature spaces."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase

_EPS = 1e-7  # the authors': a similarity of 0 has no logarithm


class PKT(Method):
    """CE + weight * the divergence between the neighbour probabilities of the embeddings."""

    name = "pkt"
    version = 1
    paper = Paper(
        "Passalis and Tefas",
        "Learning Deep Representations with Probabilistic Knowledge Transfer",
        "ECCV",
        2018,
    )

    @dataclass(frozen=True)
    class Config:
        """The value of the field's main CIFAR-100 table; the authors train without labels."""

        weight: float = 30000.0

        def __post_init__(self) -> None:
            if not self.weight >= 0:
                raise ValueError(f"weight must not be negative, not {self.weight}")

    config: Config

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        divergence = transfer_loss(student.embedding, teacher.embedding)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "pkt": self.config.weight * divergence,
        }


def transfer_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of neighbour probabilities: (B, D) and (B, D') -> scalar.

    The mean over all B^2 ordered pairs of the terms that the paper sums (authors' code).
    """
    p, q = neighbours(teacher), neighbours(student)
    return (p * ((p + _EPS) / (q + _EPS)).log()).mean()


def neighbours(x: Tensor) -> Tensor:
    """The probability that i picks j, by the cosine kernel: (B, D) -> (B, B), each row sums to 1.

    Every sample counts as its own neighbour too (authors' code).
    """
    unit = unit_rows(x, _EPS)
    affinity = (unit @ unit.T + 1) / 2
    return affinity / affinity.sum(dim=1, keepdim=True)
