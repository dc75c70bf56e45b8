"""SP: samples that look alike to the teacher shall look alike to the student."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.normalise import unit_rows
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, View


class SP(Method):
    """CE + gamma * the distance between the batch's similarity matrices, of the last stages."""

    name = "sp"
    version = 1
    paper = Paper("Tung and Mori", "Similarity-Preserving Knowledge Distillation", "ICCV", 2019)

    @dataclass(frozen=True)
    class Config:
        """The value of the field's main CIFAR-100 table."""

        gamma: float = 3000.0
        view: View = "stages"
        """Which maps are read: ours, or the CRD benchmark's, which are others on wide ResNets."""

        def __post_init__(self) -> None:
            if not self.gamma >= 0:
                raise ValueError(f"gamma must not be negative, not {self.gamma}")
            if self.view not in get_args(View):
                raise ValueError(f"view must be stages or crd, not {self.view}")

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {"crd": Config(view="crd")}

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        seen, shown = student.viewed(self.config.view), teacher.viewed(self.config.view)
        distance = similarity_loss(seen.stages[-1], shown.stages[-1])
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "sp": self.config.gamma * distance,
        }


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Sec. 3, the squared Frobenius norm over B^2: (B, C, H, W) and (B, C', H', W') -> scalar."""
    return F.mse_loss(similarities(student), similarities(teacher))


def similarities(features: Tensor) -> Tensor:
    """Sec. 3, the matrix G: (B, C, H, W) -> (B, B), inner products in rows of length 1."""
    flat = features.flatten(1)
    return unit_rows(flat @ flat.T)
