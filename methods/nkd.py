"""NKD: soft cross-entropies of the target class and of the other classes, normalised."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive
from methods.dkd import others_log_softmax
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase


class NKD(Method):
    """CE - T_t log S_t - gamma tau^2 sum_i T^_i log S^_i over the classes i other than t."""

    name = "nkd"
    version = 1
    paper = Paper(
        "Yang, Zeng, Li, Zhang, Yuan and Li",
        "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with "
        "Normalized Loss and Customized Soft Labels",
        "ICCV",
        2023,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' code, for CNNs on ImageNet."""

        gamma: float = 1.5
        """Weight of the other classes; 3.5 in their CIFAR-100 file."""
        temperature: float = 1.0
        """Softens the other classes only; 3 in their CIFAR-100 file."""

        def __post_init__(self) -> None:
            require_positive(self, "temperature")
            require_non_negative(self, "gamma")

    config: Config

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        s, t, labels = student.logits, teacher.logits, batch.labels
        gamma, temperature = self.config.gamma, self.config.temperature
        others = others_cross_entropy(s / temperature, t / temperature, labels)
        return {
            "ce": F.cross_entropy(s, labels),
            "nkd_target": target_cross_entropy(s, t, labels),
            "nkd_others": gamma * temperature**2 * others,
        }


def target_cross_entropy(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """-T_t log S_t, mean over the batch: logits (B, K) twice, labels (B,) -> scalar."""
    # The teacher's cross-entropy is -log T_t.
    probability = (-F.cross_entropy(teacher, labels, reduction="none")).exp()
    return (probability * F.cross_entropy(student, labels, reduction="none")).mean()


def others_cross_entropy(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """-sum_i T^_i log S^_i over the classes other than the target, mean over the batch.

    T^ and S^ are normalised without the target. Logits divided by the temperature (B, K) twice,
    labels (B,) -> scalar.
    """
    log_s, log_t = (others_log_softmax(logits, labels) for logits in (student, teacher))
    return -(log_t.exp() * log_s).sum(dim=1).mean()
