"""SRD: match batch-normalised embeddings through a linear projector, by a LogSum."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive
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
        """Defaults: the authors' ImageNet code."""

        alpha: float = 4.0
        weight: float = 2.0
        kd_weight: float = 1.0
        temperature: float = 1.0

        def __post_init__(self) -> None:
            require_positive(self, "alpha", "temperature")
            require_non_negative(self, "weight", "kd_weight")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        # Also for equal widths: the projector's effect on the gradient is the paper's subject.
        self.projector = nn.Linear(student.embedding, teacher.embedding)
        self.student_norm = Norm(teacher.embedding, eps=1e-4, affine=False)
        self.teacher_norm = Norm(teacher.embedding, eps=1e-4, affine=False)

    def phases(self, budget: Budget) -> Sequence[Phase]:
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
    """LogSum, log sum_bd |s_bd - t_bd|^alpha: normalised vectors (B, D) twice -> scalar.

    The sum runs over the batch too: twice the batch adds log 2 and does not change the gradient.
    Sums below ``floor`` count as ``floor`` and have no gradient.
    """
    return (student - teacher).abs().pow(alpha).sum().clamp(min=floor).log()
