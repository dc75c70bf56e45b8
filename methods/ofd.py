"""OFD: match pre-activations, as far as the teacher's say something."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import Norm
from methods.blocks.pairing import pooled_alike, unequal_stages
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class OFD(Method):
    """CE + weight times the partial L2 distance of pre-activations, the teacher's margin-ReLU'd."""

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
        """The value of the authors' CIFAR-100 code; for ImageNet they have 1/10000."""

        weight: float = 1 / 1000
        """Of the last stage; half of it for the stage before, and so on."""

        def __post_init__(self) -> None:
            if not self.weight > 0:
                raise ValueError(f"weight must be positive, not {self.weight}")

    config: Config

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """Stage pairs with stage."""
        if teacher.norms is not None and teacher.norms != len(teacher.stages):
            return "not every pre-activation of the teacher has a batch norm to take a margin from"
        return unequal_stages(student, teacher)

    def __init__(
        self,
        config: Config,
        student: Shapes,
        teacher: Shapes,
        teacher_norms: tuple[nn.BatchNorm2d, ...],
    ) -> None:
        super().__init__(config, student, teacher)
        self.connectors = nn.ModuleList(
            connector(s[0], t[0]) for s, t in zip(student.stages, teacher.stages, strict=True)
        )
        self.activations = nn.ModuleList(MarginReLU(norm) for norm in teacher_norms)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        modules = zip(self.connectors, self.activations, strict=True)
        pairs = zip(student.preacts, teacher.preacts, strict=True)
        losses = []
        for (connect, activate), (s, t) in zip(modules, pairs, strict=True):
            mine, theirs = pooled_alike(connect(s), t)
            losses.append(partial_l2(mine, activate(theirs)))
        # 1 for the last stage, 1/2 for the one before it, 1/4 ...
        weights = [0.5**i for i in reversed(range(len(losses)))]
        total = torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "ofd": self.config.weight * total,
        }


class MarginReLU(nn.Module):
    """max(x, m): a ReLU whose floor is what a channel's negative responses are on average."""

    margin: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        margins = negative_means(norm.bias.detach(), norm.weight.detach())
        self.register_buffer("margin", margins.view(1, -1, 1, 1))

    def forward(self, preacts: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return torch.maximum(preacts, self.margin)


def negative_means(mean: Tensor, std: Tensor) -> Tensor:
    """E[x | x < 0] of x from N(mean, std^2), sec. 3: (C,) twice, ``std`` of either sign -> (C,).

    Where less than a thousandth of x is negative, -3 |std| stands in for it (authors' code).
    """
    # In float64, and never divided by zero: a channel whose scale has died has margin min(mean, 0).
    m, s = mean.double(), std.double().abs().clamp_min(1e-30)
    below = torch.special.ndtr(-m / s)
    density = torch.exp(-(m / s).square() / 2) / (2 * pi) ** 0.5
    common = below > 0.001
    expected = m - s * density / torch.where(common, below, 1.0)
    return torch.where(common, expected, -3 * s).to(mean.dtype)


def partial_l2(student: Tensor, target: Tensor) -> Tensor:
    """d_p of sec. 3, the squared distance where it matters: (B, C, H, W) twice -> scalar.

    A student at or below a target that is not positive has nothing to mend. Summed over units,
    mean over the batch.
    """
    counts = (student > target) | (target > 0)
    return torch.where(counts, (student - target).square(), 0).sum() / len(student)


def connector(student_channels: int, teacher_channels: int) -> nn.Sequential:
    """1x1 convolution without bias, then BN, also where the widths agree (authors' code)."""
    conv = nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, Norm(teacher_channels))
