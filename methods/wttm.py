"""WTTM: match the teacher's power-transformed probabilities; smooth ones count more."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_within
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase


class WTTM(Method):
    """CE + beta U(p_t) KL(p_t^gamma / U || p_s); the student's logits are not softened."""

    name = "wttm"
    version = 1
    paper = Paper(
        "Zheng and Yang",
        "Knowledge Distillation Based on Transformed Teacher Matching",
        "ICLR",
        2024,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: table 8 for resnet32x4 -> resnet8x4; the authors tune them for each pair."""

        gamma: float = 0.1
        """Exponent: 1 / the teacher's temperature."""
        beta: float = 3.0
        weighted: bool = True
        """False: TTM, where all samples have equal weight."""

        def __post_init__(self) -> None:
            require_non_negative(self, "beta")
            require_within("(0, 1]", self, "gamma")

    config: Config
    presets = MappingProxyType({"ttm": Config(beta=100.0, weighted=False)})

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        gamma, beta = self.config.gamma, self.config.beta
        divergence = transformed_divergence(student.logits, teacher.logits, gamma)
        if self.config.weighted:
            divergence = power_sum(teacher.logits, gamma) * divergence
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "wttm": beta * divergence.mean(),
        }


def transformed_divergence(student: Tensor, teacher: Tensor, gamma: float) -> Tensor:
    """KL(p_t^gamma / U || p_s) of each sample, eq. 2: logits (B, K) twice -> (B,).

    The power transform of a softmax is the softmax at temperature 1 / gamma (eq. 9).
    """
    transformed = F.log_softmax(gamma * teacher, dim=1)
    divergence = F.kl_div(
        F.log_softmax(student, dim=1), transformed, reduction="none", log_target=True
    )
    return divergence.sum(dim=1)


def power_sum(teacher: Tensor, gamma: float) -> Tensor:
    """U = sum over classes of p_t^gamma, sec. 4: logits (B, K) -> (B,).

    From 1 for a one-hot p_t to K^(1 - gamma) for a uniform one.
    """
    return (gamma * F.log_softmax(teacher, dim=1)).exp().sum(dim=1)
