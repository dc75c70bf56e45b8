"""Knowledge distillation: match the teacher's softened class probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase


class KD(Method):
    """(1 - alpha) CE + alpha T^2 KL(teacher || student), both softened by T."""

    name = "kd"
    version = 1
    paper = Paper(
        "Hinton, Vinyals and Dean",
        "Distilling the Knowledge in a Neural Network",
        "NIPS Deep Learning Workshop",
        2014,
    )

    @dataclass(frozen=True)
    class Config:
        """T and alpha of the field's main CIFAR-100 table; the paper gives no one value."""

        temperature: float = 4.0
        alpha: float = 0.9

        def __post_init__(self) -> None:
            if not self.temperature > 0:
                raise ValueError(f"temperature must be positive, not {self.temperature}")
            if not 0 <= self.alpha <= 1:
                raise ValueError(f"alpha must lie between 0 and 1, not {self.alpha}")

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {"crd": Config()}

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        temperature, alpha = self.config.temperature, self.config.alpha
        kl = kl_divergence(student.logits, teacher.logits, temperature)
        return {
            "ce": (1 - alpha) * F.cross_entropy(student.logits, batch.labels),
            # Sec. 2: T^2 keeps the soft targets' gradient at its size when T changes.
            "kd": alpha * temperature**2 * kl,
        }


def kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(p_t || p_s) of the softmax at ``temperature``: (B, K) twice -> scalar.

    Summed over classes, mean over the batch; the factor T^2 is left to the caller. The gradient
    with respect to the student's logits is (p_s - p_t) / (T B).
    """
    return F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
