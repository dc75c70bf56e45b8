"""VID: maximise a lower bound of the mutual information between the networks' stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.pairing import pooled_alike, unequal_stages
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class VID(Method):
    """CE + weight times the Gaussian negative log-likelihood of the teacher's maps."""

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
        """The values of the field's main benchmark, which names the authors' code as its source."""

        weight: float = 1.0
        variance: float = 5.0
        """Of every channel at the start; from there it is trained."""
        least_variance: float = 1e-5
        """The epsilon that no variance falls below."""
        view: View = "stages"
        """Which maps are read: ours, or the CRD benchmark's, which are others on wide ResNets."""

        def __post_init__(self) -> None:
            for field in ("weight", "least_variance"):
                if not getattr(self, field) > 0:
                    raise ValueError(f"{field} must be positive, not {getattr(self, field)}")
            if not self.variance > self.least_variance:
                raise ValueError(f"variance must exceed least_variance, not {self.variance}")
            if self.view not in get_args(View):
                raise ValueError(f"view must be stages or crd, not {self.view}")

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {"crd": Config(view="crd")}

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """Stage pairs with stage."""
        return unequal_stages(student, teacher)

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.observations = nn.ModuleList(
            Observation(s[0], t[0], config.variance, config.least_variance)
            for s, t in zip(student.stages, teacher.stages, strict=True)
        )

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        seen, shown = student.viewed(self.config.view), teacher.viewed(self.config.view)
        pairs = zip(seen.stages, shown.stages, strict=True)
        losses = []
        for observe, pair in zip(self.observations, pairs, strict=True):
            s, t = pooled_alike(*pair)
            mean, variance = observe(s)
            losses.append(gaussian_nll(mean, variance, t))
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "vid": self.config.weight * torch.stack(losses).sum(),
        }


class Observation(nn.Module):
    """q(t | s) of sec. 2: a mean that depends on the student's map, a variance that does not."""

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
    """-log N(teacher; mean, variance) less log(2 pi) / 2 (sec. 2).

    (B, C, H, W), (C,), (B, C, H, W) -> scalar, the mean over all elements (the paper sums them).
    Where the variance is below 1 it can be negative.
    """
    variance = variance.view(1, -1, 1, 1)
    return 0.5 * ((teacher - mean).square() / variance + variance.log()).mean()
