"""PKT: match the probabilities that samples are neighbours in feature space."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative
from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase

_EPS = 1e-7  # the authors'; it keeps the logarithm finite


class PKT(Method):
    """CE + weight times the KL between the neighbour probabilities of the embeddings."""

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
        """Defaults: the CRD benchmark's CIFAR-100 table; the authors train without labels."""

        weight: float = 30000.0

        def __post_init__(self) -> None:
            require_non_negative(self, "weight")

    config: Config
    presets = MappingProxyType({"crd": Config()})

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        divergence = transfer_loss(student.embedding, teacher.embedding)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "pkt": self.config.weight * divergence,
        }


def transfer_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of neighbour probabilities: (B, D), (B, D') -> scalar.

    The mean over all B^2 ordered pairs (authors' code); the paper sums.
    """
    p, q = neighbour_probabilities(teacher), neighbour_probabilities(student)
    return (p * ((p + _EPS) / (q + _EPS)).log()).mean()


def neighbour_probabilities(x: Tensor) -> Tensor:
    """P(j is i's neighbour) by the cosine kernel: (B, D) -> (B, B), each row sums to 1.

    A sample is also its own neighbour (authors' code).
    """
    unit = unit_rows(x, _EPS)
    affinity = (unit @ unit.T + 1) / 2
    return affinity / affinity.sum(dim=1, keepdim=True)
