"""KD: match the teacher's softened class probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_positive, require_within
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
        """Defaults: the CRD benchmark's CIFAR-100 table; the paper varies both."""

        temperature: float = 4.0
        alpha: float = 0.9

        def __post_init__(self) -> None:
            require_positive(self, "temperature")
            require_within("[0, 1]", self, "alpha")

    config: Config
    presets = MappingProxyType({"crd": Config()})

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        temperature, alpha = self.config.temperature, self.config.alpha
        kl = kl_divergence(student.logits, teacher.logits, temperature)
        return {
            "ce": (1 - alpha) * F.cross_entropy(student.logits, batch.labels),
            # Sec. 2: T^2 keeps the size of the gradient when T changes.
            "kd": alpha * temperature**2 * kl,
        }


def kl_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(p_t || p_s) of the softmax at ``temperature``: logits (B, K) twice -> scalar.

    Sum over classes, mean over the batch. The factor T^2 is left to the caller. The gradient with
    respect to the student's logits is (p_s - p_t) / (T B).
    """
    return F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
