"""SimKD: regress the teacher's last stage and reuse the teacher's classifier."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_positive
from methods.blocks.normalise import Norm
from methods.blocks.pairing import pool_to_smaller
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class SimKD(Method):
    """weight times the MSE of projected features; deploys projector and teacher's classifier."""

    name = "simkd"
    version = 1
    paper = Paper(
        "Chen, Mei, Zhang, Wang, Feng and Chen",
        "Knowledge Distillation with the Reused Teacher Classifier",
        "CVPR",
        2022,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' code."""

        factor: int = 2
        """Ratio of the teacher's width to the projector's inner width."""
        weight: float = 1.0

        def __post_init__(self) -> None:
            require_positive(self, "weight")
            if self.factor < 1:
                raise ValueError(f"factor must be at least 1, not {self.factor}")

    config: Config

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        channels = teacher.stages[-1][0]
        if teacher.embedding != channels:
            return (
                f"the teacher's classifier reads {teacher.embedding} values, not the {channels} "
                "channels of its last stage"
            )
        if config.factor > channels:
            return f"factor {config.factor} leaves nothing of the teacher's {channels} channels"
        return None

    def __init__(
        self, config: Config, student: Shapes, teacher: Shapes, *, teacher_classifier: nn.Linear
    ) -> None:
        super().__init__(config, student, teacher)
        channels, *self.teacher_size = teacher.stages[-1]
        self.projector = Projector(student.stages[-1][0], channels, config.factor)
        self.classifier = copy.deepcopy(teacher_classifier).requires_grad_(False)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, without labels."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        source, target = pool_to_smaller(student.stages[-1], teacher.stages[-1].detach())
        return {"simkd": self.config.weight * F.mse_loss(self.projector(source), target)}

    def deployed(self, student: nn.Module) -> nn.Module:
        """Return student, projector and the teacher's classifier as one network."""
        return DeployedNetwork(student, self.projector, self.classifier, self.teacher_size)


class Projector(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with BN and ReLU: (B, S, H, W) -> (B, T, H, W)."""

    def __init__(self, student_channels: int, teacher_channels: int, factor: int) -> None:
        super().__init__()
        narrow = teacher_channels // factor
        widths = student_channels, narrow, narrow, teacher_channels
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
            for (before, after), kernel in zip(pairwise(widths), (1, 3, 1), strict=True)
        )
        self.norms = nn.ModuleList(Norm(width) for width in widths[1:])

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return x


class DeployedNetwork(nn.Module):
    """Images -> the student's ``Features`` with SimKD's embedding and logits."""

    def __init__(
        self, student: nn.Module, projector: nn.Module, classifier: nn.Module, size: Sequence[int]
    ) -> None:
        super().__init__()
        self.student, self.projector, self.classifier = student, projector, classifier
        self.size = tuple(size)
        """Height and width of the teacher's last stage; a larger map is pooled to them."""

    def forward(self, images: Tensor) -> Features:
        features = cast(Features, self.student(images))
        last = features.stages[-1]
        source, _ = pool_to_smaller(last, last.new_zeros(1, 1, *self.size))
        embedding = self.projector(source).mean(dim=(2, 3))
        return features._replace(embedding=embedding, logits=self.classifier(embedding))
