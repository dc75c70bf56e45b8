"""DKD: weight the KL of the target class and the KL among the other classes separately."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive, require_within
from methods.blocks.schedules import warm_up
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase


class DKD(Method):
    """CE + warm_up T^2 (alpha TCKD + beta NCKD)."""

    name = "dkd"
    version = 1
    paper = Paper(
        "Zhao, Cui, Song, Qiu and Liang", "Decoupled Knowledge Distillation", "CVPR", 2022
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' CIFAR-100 code for resnet32x4 -> resnet8x4."""

        alpha: float = 1.0
        """Weight of TCKD, the target class's part."""
        beta: float = 8.0
        """Weight of NCKD, the other classes' part; 6 or 2 for six of the authors' pairs."""
        temperature: float = 4.0
        warmup_share: float = 1 / 12
        """Share of the phase over which both weights rise from 0: 20 of 240 epochs."""

        def __post_init__(self) -> None:
            require_positive(self, "temperature")
            require_non_negative(self, "alpha", "beta")
            require_within("[0, 1]", self, "warmup_share")

    config: Config

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        config, labels, t = self.config, batch.labels, self.config.temperature
        scale = warm_up(batch.progress, config.warmup_share) * t**2
        target = target_divergence(student.logits / t, teacher.logits / t, labels)
        others = others_divergence(student.logits / t, teacher.logits / t, labels)
        return {
            "ce": F.cross_entropy(student.logits, labels),
            "tckd": config.alpha * scale * target,
            "nckd": config.beta * scale * others,
        }


def target_divergence(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """TCKD, sec. 3.1: KL with all classes but the target merged into one, mean over the batch.

    Logits divided by the temperature (B, K) twice, labels (B,) -> scalar.
    """
    log_s, log_t = (target_log_softmax(logits, labels) for logits in (student, teacher))
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def others_divergence(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """NCKD, sec. 3.1: KL among the classes other than the target, mean over the batch.

    Logits divided by the temperature (B, K) twice, labels (B,) -> scalar.
    """
    log_s, log_t = (others_log_softmax(logits, labels) for logits in (student, teacher))
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def target_log_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, K) -> (B, 2): log-probabilities of the target and of all other classes together.

    Computed in log space, where logits of 1000 do not underflow.
    """
    is_target = _is_target(logits, labels)
    target = logits.masked_fill(~is_target, 0).sum(dim=1)
    others = logits.masked_fill(is_target, -torch.inf).logsumexp(dim=1)
    return F.log_softmax(torch.stack([target, others], dim=1), dim=1)


def others_log_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, K) -> (B, K): log-probabilities given that the class is not the target.

    The target's entry is 0, which adds nothing to a KL or cross-entropy of two such tensors.
    """
    is_target = _is_target(logits, labels)
    others = logits.masked_fill(is_target, -torch.inf)
    return F.log_softmax(others, dim=1).masked_fill(is_target, 0)


def _is_target(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, K), bool."""
    return labels[:, None] == torch.arange(logits.shape[1], device=labels.device)
