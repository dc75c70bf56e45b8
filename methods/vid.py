"""VID: maximise a lower bound of the mutual information between the stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, log
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_positive
from methods.blocks.pairing import pool_to_smaller, stage_count_mismatch, stage_pairs
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class VID(Method):
    """CE + weight times the Gaussian negative log-likelihood of the teacher's stages."""

    name = "vid"
    version = 1
    paper = Paper(
        "Ahn, Hu, Damianou, Lawrence and Dai",
        "Variational Information Distillation for Knowledge Transfer",
        "CVPR",
        2019,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the CRD benchmark, which names the authors' code as its source."""

        weight: float = 1.0
        variance: float = 5.0
        """Initial variance of every channel; it is trained."""
        least_variance: float = 1e-5
        """Lower bound of the variances, epsilon."""
        view: View = "stages"
        """Whose feature maps are read, see ``methods.interface.View``."""

        def __post_init__(self) -> None:
            require_positive(self, "weight", "least_variance")
            if not self.variance > self.least_variance:
                raise ValueError(f"variance must exceed least_variance, not {self.variance}")

    config: Config
    presets = MappingProxyType({"crd": Config(view="crd")})

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        return stage_count_mismatch(student, teacher)

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.observations = nn.ModuleList(
            Observation(s[0], t[0], config.variance, config.least_variance)
            for s, t in zip(student.stages, teacher.stages, strict=True)
        )

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        pairs = stage_pairs(student, teacher, self.config.view)
        losses = []
        for observe, pair in zip(self.observations, pairs, strict=True):
            s, t = pool_to_smaller(*pair)
            mean, variance = observe(s)
            losses.append(gaussian_nll(mean, variance, t))
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "vid": self.config.weight * torch.stack(losses).sum(),
        }


class Observation(nn.Module):
    """q(t | s) of sec. 2: a mean computed from the student's map, a variance per channel."""

    def __init__(
        self, student_channels: int, teacher_channels: int, variance: float, least: float
    ) -> None:
        super().__init__()
        self.least = least
        self.regressor = nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=1, bias=False),
        )
        start = log(expm1(variance - least))  # the inverse of softplus
        self.alpha = nn.Parameter(torch.full((teacher_channels,), start))

    def forward(self, student: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C_s, H, W) -> mean (B, C_t, H, W), variance (C_t,) = softplus(alpha) + epsilon."""
        return self.regressor(student), F.softplus(self.alpha) + self.least


def gaussian_nll(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """-log N(teacher; mean, variance) - log(2 pi) / 2, sec. 2; negative for small variances.

    (B, C, H, W), (C,), (B, C, H, W) -> scalar, the mean over all elements (the paper sums).
    """
    variance = variance.view(1, -1, 1, 1)
    return 0.5 * ((teacher - mean).square() / variance + variance.log()).mean()
