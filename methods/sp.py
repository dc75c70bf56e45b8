"""SP: match the similarities between the samples of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative
from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, View


class SP(Method):
    """CE + gamma times the distance between the similarity matrices of the last stages."""

    name = "sp"
    version = 1
    paper = Paper("Tung and Mori", "Similarity-Preserving Knowledge Distillation", "ICCV", 2019)

    @dataclass(frozen=True)
    class Config:
        """Defaults: the CRD benchmark's CIFAR-100 table."""

        gamma: float = 3000.0
        view: View = "stages"
        """Whose feature maps are read, see ``methods.interface.View``."""

        def __post_init__(self) -> None:
            require_non_negative(self, "gamma")

    config: Config
    presets = MappingProxyType({"crd": Config(view="crd")})

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        s, t = (x.viewed(self.config.view).stages[-1] for x in (student, teacher))
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "sp": self.config.gamma * similarity_loss(s, t),
        }


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Sec. 3, squared Frobenius norm / B^2: (B, C, H, W), (B, C', H', W') -> scalar."""
    return F.mse_loss(similarity_matrix(student), similarity_matrix(teacher))


def similarity_matrix(features: Tensor) -> Tensor:
    """Sec. 3, the matrix G: (B, C, H, W) -> (B, B), inner products, rows of length 1."""
    flat = features.flatten(1)
    return unit_rows(flat @ flat.T)
