"""OFD: match pre-activations wherever the teacher's are informative."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_positive
from methods.blocks.pairing import conv1x1_norm, halving_sum, pool_to_smaller, stage_count_mismatch
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class OFD(Method):
    """CE + weight times the partial L2 distance to the margin ReLU of the teacher's preacts."""

    name = "ofd"
    version = 1
    paper = Paper(
        "Heo, Kim, Yun, Park, Kwak and Choi",
        "A Comprehensive Overhaul of Feature Distillation",
        "ICCV",
        2019,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' CIFAR-100 code; for ImageNet they use 1/10000."""

        weight: float = 1 / 1000
        """Weight of the last stage; it halves with every stage before."""

        def __post_init__(self) -> None:
            require_positive(self, "weight")

    config: Config

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        if teacher.norms is not None and teacher.norms != len(teacher.stages):
            return "not every pre-activation of the teacher has a batch norm to take a margin from"
        return stage_count_mismatch(student, teacher)

    def __init__(
        self,
        config: Config,
        student: Shapes,
        teacher: Shapes,
        teacher_norms: tuple[nn.BatchNorm2d, ...],
    ) -> None:
        super().__init__(config, student, teacher)
        self.connectors = nn.ModuleList(
            conv1x1_norm(s[0], t[0]) for s, t in zip(student.stages, teacher.stages, strict=True)
        )
        self.activations = nn.ModuleList(MarginReLU(norm) for norm in teacher_norms)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        modules = zip(self.connectors, self.activations, strict=True)
        pairs = zip(student.preacts, teacher.preacts, strict=True)
        losses = []
        for (connect, activate), (s, t) in zip(modules, pairs, strict=True):
            s, t = pool_to_smaller(connect(s), t)
            losses.append(partial_l2(s, activate(t)))
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "ofd": self.config.weight * halving_sum(losses),
        }


class MarginReLU(nn.Module):
    """max(x, m), where m is the mean of a channel's negative responses."""

    margin: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        margins = negative_means(norm.bias.detach(), norm.weight.detach())
        self.register_buffer("margin", margins.view(1, -1, 1, 1))

    def forward(self, preacts: Tensor) -> Tensor:
        return torch.maximum(preacts, self.margin)


def negative_means(mean: Tensor, std: Tensor) -> Tensor:
    """E[x | x < 0] for x from N(mean, std^2), sec. 3: (C,) twice, ``std`` of either sign -> (C,).

    -3 |std| where P(x < 0) is at most 0.001 (authors' code).
    """
    # The clamp avoids division by zero: a channel with std = 0 gets the margin min(mean, 0).
    m, s = mean.double(), std.double().abs().clamp_min(1e-30)
    below = torch.special.ndtr(-m / s)
    density = torch.exp(-(m / s).square() / 2) / (2 * pi) ** 0.5
    common = below > 0.001
    expected = m - s * density / torch.where(common, below, 1.0)
    return torch.where(common, expected, -3 * s).to(mean.dtype)


def partial_l2(student: Tensor, target: Tensor) -> Tensor:
    """Partial L2 distance d_p of sec. 3: (B, C, H, W) twice -> scalar.

    Units with student <= target <= 0 count 0. Sum over units, mean over the batch.
    """
    counts = (student > target) | (target > 0)
    return torch.where(counts, (student - target).square(), 0).sum() / len(student)
