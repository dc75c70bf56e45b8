"""CTKD: distil at a temperature that learns to make it hard, more and more as training goes on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes
from methods.kd import kl_divergence


class CTKD(Method):
    """KD whose one temperature climbs the loss that the student descends."""

    name = "ctkd"
    version = 1
    paper = Paper(
        "Li, Li, Yang, Zhao, Song, Luo, Li and Yang",
        "Curriculum Temperature for Knowledge Distillation",
        "AAAI",
        2023,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' CIFAR-100 script, with the global temperature."""

        ce_weight: float = 0.1
        kd_weight: float = 0.9
        lowest: float = 1.0
        """The lower end of the temperature's range, their tau_init."""
        span: float = 20.0
        """The width of its range, their tau_range."""
        curriculum_share: float = 1 / 24
        """How much of the budget the reversed gradient takes to reach its size: 10 of 240 epochs.
        """

        def __post_init__(self) -> None:
            for field in ("ce_weight", "kd_weight"):
                if not getattr(self, field) >= 0:
                    raise ValueError(f"{field} must not be negative, not {getattr(self, field)}")
            for field in ("lowest", "span"):
                if not getattr(self, field) > 0:
                    raise ValueError(f"{field} must be positive, not {getattr(self, field)}")
            if not 0 < self.curriculum_share <= 1:
                raise ValueError(
                    f"curriculum_share must lie above 0, at most 1, not {self.curriculum_share}"
                )

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.predicted = nn.Parameter(torch.ones(()))  # a temperature of 15.6 in their range

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        config = self.config
        against = reversed_gradient(
            self.predicted, difficulty(batch.progress, config.curriculum_share)
        )
        temperature = config.lowest + config.span * against.sigmoid()
        # The logits are divided here: the temperature's gradient flows through both softmaxes.
        kl = kl_divergence(student.logits / temperature, teacher.logits / temperature, 1.0)
        return {
            "ce": config.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "ctkd": config.kd_weight * temperature**2 * kl,
        }


def difficulty(progress: Tensor, share: float) -> Tensor:
    """Lambda of the cosine curriculum: from 0 to 1 over the first ``share`` of a phase, then 1."""
    return (1 - torch.cos(math.pi * (progress / share).clamp(max=1))) / 2


def reversed_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """``x``, whose gradient is multiplied by minus ``factor`` on its way back."""
    return x.detach() - factor * (x - x.detach())
