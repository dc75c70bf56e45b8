"""CTKD: KD at a temperature that is trained to increase the loss, more strongly over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive, require_within
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes
from methods.kd import kl_divergence


class CTKD(Method):
    """CE + T^2 KL with one global T, trained by the reversed gradient (a curriculum scales it)."""

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
        """Defaults: the authors' CIFAR-100 script with the global temperature."""

        ce_weight: float = 0.1
        kd_weight: float = 0.9
        lowest: float = 1.0
        """Lower end of the temperature's range; the authors' tau_init."""
        span: float = 20.0
        """Width of the range; the authors' tau_range."""
        curriculum_share: float = 1 / 24
        """Share of the phase until the reversed gradient has full size: 10 of 240 epochs."""

        def __post_init__(self) -> None:
            require_positive(self, "lowest", "span")
            require_non_negative(self, "ce_weight", "kd_weight")
            require_within("(0, 1]", self, "curriculum_share")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.predicted = nn.Parameter(
            torch.ones(())
        )  # T = 1 + 20 sigmoid(1) = 15.6 at the defaults

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        config = self.config
        strength = curriculum(batch.progress, config.curriculum_share)
        predicted = reverse_gradient(self.predicted, strength)
        temperature = config.lowest + config.span * predicted.sigmoid()
        # Dividing here lets the temperature's gradient flow through both softmaxes.
        kl = kl_divergence(student.logits / temperature, teacher.logits / temperature, 1.0)
        return {
            "ce": config.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "ctkd": config.kd_weight * temperature**2 * kl,
        }


def curriculum(progress: Tensor, share: float) -> Tensor:
    """Cosine curriculum lambda: from 0 to 1 over the first ``share`` of a phase, then 1."""
    return (1 - torch.cos(math.pi * (progress / share).clamp(max=1))) / 2


def reverse_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """Return ``x``; its gradient is multiplied by -``factor`` in the backward pass."""
    return x.detach() - factor * (x - x.detach())
