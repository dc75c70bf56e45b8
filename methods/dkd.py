"""DKD: what the teacher says of the target class and of the others, weighed apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase


class DKD(Method):
    """CE + warm-up T^2 (alpha TCKD + beta NCKD)."""

    name = "dkd"
    version = 1
    paper = Paper(
        "Zhao, Cui, Song, Qiu and Liang",
        "Decoupled Knowledge Distillation",
        "CVPR",
        2022,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' CIFAR-100 code for resnet32x4 -> resnet8x4."""

        alpha: float = 1.0
        """Weight of the target class's part."""
        beta: float = 8.0
        """Weight of the other classes' part; 6 or 2 for six of the authors' other pairs."""
        temperature: float = 4.0
        warmup_share: float = 1 / 12
        """How much of the budget both parts take to grow to their weights: 20 of 240 epochs."""

        def __post_init__(self) -> None:
            if not (self.alpha >= 0 and self.beta >= 0):
                raise ValueError("alpha and beta must not be negative")
            if not self.temperature > 0:
                raise ValueError(f"temperature must be positive, not {self.temperature}")
            if not 0 <= self.warmup_share <= 1:
                raise ValueError(f"warmup_share must lie in 0 to 1, not {self.warmup_share}")

    config: Config

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
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
    """TCKD, sec. 3.1: KL between (target, all others) taken as two classes, mean over the batch.

    Logits over the temperature (B, K) twice, labels (B,) -> scalar.
    """
    log_s, log_t = (target_log_softmax(logits, labels) for logits in (student, teacher))
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def others_divergence(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """NCKD, sec. 3.1: KL among the classes that are not the target, mean over the batch.

    Logits over the temperature (B, K) twice, labels (B,) -> scalar.
    """
    log_s, log_t = (others_log_softmax(logits, labels) for logits in (student, teacher))
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def target_log_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, K) logits -> (B, 2): log-probabilities of the target and of all other classes together.

    Never by way of probabilities, which would round to 0: logits of 1000 give exact values.
    """
    is_target = _is_target(logits, labels)
    target = logits.masked_fill(~is_target, 0).sum(dim=1)
    others = logits.masked_fill(is_target, -torch.inf).logsumexp(dim=1)
    return F.log_softmax(torch.stack([target, others], dim=1), dim=1)


def others_log_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, K) logits -> (B, K): log-probabilities of the classes given that it is not the target.

    The target's place holds 0, which adds nothing to a divergence or a cross-entropy of two such.
    """
    is_target = _is_target(logits, labels)
    others = logits.masked_fill(is_target, -torch.inf)
    return F.log_softmax(others, dim=1).masked_fill(is_target, 0)


def warm_up(progress: Tensor, share: float) -> Tensor:
    """From 0 to 1 linearly over the first ``share`` of a phase, then 1: scalar -> scalar."""
    return (progress / share).clamp(max=1) if share > 0 else torch.ones_like(progress)


def _is_target(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, K), bool."""
    return labels[:, None] == torch.arange(logits.shape[1], device=labels.device)
