"""LS: distil standardised logits, which have no scale or shift."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive, require_within
from methods.blocks.normalise import unit_rows
from methods.blocks.schedules import warm_up
from methods.dkd import others_divergence, target_divergence
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase
from methods.kd import kl_divergence


class LS(Method):
    """CE + KD or DKD between the z-scores of the logits, divided by a base temperature."""

    name = "ls"
    version = 1
    paper = Paper(
        "Sun, Ren, Li, Wang and Cao",
        "Logit Standardization in Knowledge Distillation",
        "CVPR",
        2024,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' CIFAR-100 code."""

        divergence: Literal["kd", "dkd"] = "kd"
        temperature: float = 2.0
        """Base temperature, in units of the logits' standard deviation."""
        ce_weight: float = 0.1
        kd_weight: float = 9.0
        """Weight of the divergence; with ``dkd``, of both its parts."""
        alpha: float = 1.0
        """``dkd`` only: weight of TCKD."""
        beta: float = 8.0
        """``dkd`` only: weight of NCKD."""
        warmup_share: float = 1 / 12
        """``dkd`` only: share of the phase over which both weights rise: 20 of 240 epochs."""

        def __post_init__(self) -> None:
            require_positive(self, "temperature")
            require_non_negative(self, "ce_weight", "kd_weight", "alpha", "beta")
            require_within("[0, 1]", self, "warmup_share")

    config: Config
    presets = MappingProxyType({"dkd": Config(divergence="dkd", ce_weight=1.0)})

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        config, labels = self.config, batch.labels
        s, t = (standardise(x.logits) / config.temperature for x in (student, teacher))
        scale = config.kd_weight * config.temperature**2
        losses = {"ce": config.ce_weight * F.cross_entropy(student.logits, labels)}
        if config.divergence == "kd":
            return losses | {"ls": scale * kl_divergence(s, t, 1.0)}
        grown = scale * warm_up(batch.progress, config.warmup_share)
        return losses | {
            "tckd": config.alpha * grown * target_divergence(s, t, labels),
            "nckd": config.beta * grown * others_divergence(s, t, labels),
        }


def standardise(logits: Tensor) -> Tensor:
    """Z-scores of each sample's logits: (B, K) -> (B, K), as in the authors' code.

    The variance divides by K - 1, and 1e-7 is added to the deviation. Equal logits give zeros and
    get no gradient, which the 1e-7 alone would multiply by 1e7.
    """
    scale = sqrt(logits.shape[1] - 1)  # length of a centred vector = scale * standard deviation
    centred = logits - logits.mean(dim=1, keepdim=True)
    return scale * unit_rows(centred, eps=1e-7 * scale)
