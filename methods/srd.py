"""SRD: a linear projector, batch norm on both sides, and a soft maximum of the differences."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import Norm
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes
from methods.kd import kl_divergence


class SRD(Method):
    """CE + weight log sum |BN(W s) - BN(t)|^alpha + kd_weight T^2 KL(teacher || student)."""

    name = "srd"
    version = 1
    paper = Paper(
        "Miles and Mikolajczyk",
        "Understanding the Role of the Projector in Knowledge Distillation",
        "AAAI",
        2024,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' ImageNet code."""

        alpha: float = 4.0
        weight: float = 2.0
        kd_weight: float = 1.0
        temperature: float = 1.0

        def __post_init__(self) -> None:
            for field in ("alpha", "temperature"):
                if not getattr(self, field) > 0:
                    raise ValueError(f"{field} must be positive, not {getattr(self, field)}")
            for field in ("weight", "kd_weight"):
                if not getattr(self, field) >= 0:
                    raise ValueError(f"{field} must not be negative, not {getattr(self, field)}")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        # There even where the widths agree: what it does to the gradient is the paper's subject.
        self.projector = nn.Linear(student.embedding, teacher.embedding)
        self.student_norm = Norm(teacher.embedding, eps=1e-4, affine=False)
        self.teacher_norm = Norm(teacher.embedding, eps=1e-4, affine=False)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        config = self.config
        distance = logsum_distance(
            self.student_norm(self.projector(student.embedding)),
            self.teacher_norm(teacher.embedding.detach()),
            config.alpha,
        )
        kl = kl_divergence(student.logits, teacher.logits.detach(), config.temperature)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "srd": config.weight * distance,
            "kd": config.kd_weight * config.temperature**2 * kl,
        }


def logsum_distance(student: Tensor, teacher: Tensor, alpha: float, floor: float = 1e-5) -> Tensor:
    """log sum_bd |s_bd - t_bd|^alpha, normalised vectors (B, D) twice -> scalar.

    The paper's LogSum. Summed over units and over the batch: a batch twice as large adds log 2 and
    leaves the gradient as it is. Held at ``floor``, below which two batches count as the same.
    """
    return (student - teacher).abs().pow(alpha).sum().clamp(min=floor).log()
