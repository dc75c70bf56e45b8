"""LS: standardise the logits of both networks, so that only their relations are distilled."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from methods.blocks.normalise import unit_rows
from methods.dkd import others_divergence, target_divergence, warm_up
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase
from methods.kd import kl_divergence


class LS(Method):
    """KD or DKD between z-scores of the logits, over a base temperature."""

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
        """The values of the authors' CIFAR-100 code."""

        divergence: Literal["kd", "dkd"] = "kd"
        temperature: float = 2.0
        """The base temperature: in units of the logits' standard deviation."""
        ce_weight: float = 0.1
        kd_weight: float = 9.0
        """Of the divergence; for `dkd`, of both its parts."""
        alpha: float = 1.0
        """Of the target class's part in `dkd`, which alone reads the fields from here on."""
        beta: float = 8.0
        """Of the other classes' part."""
        warmup_share: float = 1 / 12
        """How much of the budget both parts take to grow to their weights: 20 of 240 epochs."""

        def __post_init__(self) -> None:
            if self.divergence not in ("kd", "dkd"):
                raise ValueError(f"divergence must be kd or dkd, not {self.divergence!r}")
            if not self.temperature > 0:
                raise ValueError(f"temperature must be positive, not {self.temperature}")
            for field in ("ce_weight", "kd_weight", "alpha", "beta"):
                if not getattr(self, field) >= 0:
                    raise ValueError(f"{field} must not be negative, not {getattr(self, field)}")
            if not 0 <= self.warmup_share <= 1:
                raise ValueError(f"warmup_share must lie in 0 to 1, not {self.warmup_share}")

    config: Config
    presets = MappingProxyType({"dkd": Config(divergence="dkd", ce_weight=1.0)})

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        config, labels = self.config, batch.labels
        s, t = (standardised(x.logits) / config.temperature for x in (student, teacher))
        scale = config.kd_weight * config.temperature**2
        losses = {"ce": config.ce_weight * F.cross_entropy(student.logits, labels)}
        if config.divergence == "kd":
            return losses | {"ls": scale * kl_divergence(s, t, 1.0)}
        grown = scale * warm_up(batch.progress, config.warmup_share)
        return losses | {
            "tckd": config.alpha * grown * target_divergence(s, t, labels),
            "nckd": config.beta * grown * others_divergence(s, t, labels),
        }


def standardised(logits: Tensor) -> Tensor:
    """Z-score of each sample's logits: (B, K) -> (B, K), as in the authors' code.

    The deviation divides by K - 1, and 1e-7 is added to it. Equal logits give zeros and have no
    gradient, which 1e-7 alone would make 1e7 times as large.
    """
    scale = sqrt(logits.shape[1] - 1)  # of a vector's length over its deviation
    centred = logits - logits.mean(dim=1, keepdim=True)
    return scale * unit_rows(centred, eps=1e-7 * scale)
