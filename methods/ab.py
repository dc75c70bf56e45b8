"""AB: place the student's activation boundaries where the teacher's are, then distil."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import Norm
from methods.blocks.pairing import (
    MapShape,
    beyond_regression,
    pooled_alike,
    regression,
    unequal_stages,
)
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes
from methods.kd import kl_divergence
from methods.scratch import task_loss


class AB(Method):
    """Initialise by the boundary loss on pre-activations, then KL alone (preset crd: CE alone)."""

    name = "ab"
    version = 1
    paper = Paper(
        "Heo, Lee, Yun and Choi",
        "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
        "AAAI",
        2019,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' CIFAR-10 code, for three stages."""

        margin: float = 1.0
        scale: float = 3 / 1000
        """Weight of the last stage; their networks with four stages have 1/1000."""
        connector: Literal["he", "regression"] = "he"
        """The authors' 1x1 convolution, or the CRD benchmark's, which also fits the sizes."""
        second_phase: Literal["kd", "ce"] = "kd"
        """What follows: the teacher's softened logits alone, or the labels alone."""
        temperature: float = 3.0
        """Of the second phase ``kd``."""
        init_share: float = 0.125
        """How much of the budget the initialising phase gets: 30 of 240 epochs."""

        def __post_init__(self) -> None:
            for field in ("margin", "scale", "temperature"):
                if not getattr(self, field) > 0:
                    raise ValueError(f"{field} must be positive, not {getattr(self, field)}")
            if not 0 < self.init_share < 1:
                raise ValueError(f"init_share must lie between 0 and 1, not {self.init_share}")
            if self.connector not in ("he", "regression"):
                raise ValueError(f"connector must be he or regression, not {self.connector}")
            if self.second_phase not in ("kd", "ce"):
                raise ValueError(f"second_phase must be kd or ce, not {self.second_phase}")
            if self.second_phase == "ce" and self.temperature != type(self).temperature:
                raise ValueError("temperature has no effect where second_phase is ce")

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {
        "crd": Config(connector="regression", second_phase="ce")
    }

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """Stage pairs with stage; the regression cannot enlarge a map by any factor."""
        if reason := unequal_stages(student, teacher):
            return reason
        if config.connector == "he":
            return None
        pairs = zip(student.stages, teacher.stages, strict=True)
        return next(filter(None, (beyond_regression(s, t) for s, t in pairs)), None)

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        pairs = zip(student.stages, teacher.stages, strict=True)
        if config.connector == "he":
            self.connectors = nn.ModuleList(connector(s[0], t[0]) for s, t in pairs)
        else:
            self.connectors = nn.ModuleList(regression_connector(s, t) for s, t in pairs)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Sec. 3: initialise, then distil, without labels; or then learn the task from them."""
        init, second = budget.split(self.config.init_share)
        first = Phase("init", init, self._init, lr="constant")
        if self.config.second_phase == "ce":
            return [first, Phase("task", second, task_loss, reads_teacher=False)]
        return [first, Phase("distill", second, self._distill)]

    def _init(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        triples = zip(self.connectors, student.preacts, teacher.preacts, strict=True)
        losses = [
            boundary_loss(*pooled_alike(connect(s), t), self.config.margin)
            for connect, s, t in triples
        ]
        # 1 for the last stage, 1/2 for the one before it, 1/4 ...
        weights = [0.5**i for i in reversed(range(len(losses)))]
        total = torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()
        return {"ab": self.config.scale * total}

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"kd": kl_divergence(student.logits, teacher.logits, self.config.temperature)}


def boundary_loss(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """The alternative loss of sec. 3: pre-activations (B, C, H, W) twice -> scalar.

    A unit that is on in the teacher is pushed above ``margin``, one that is off below ``-margin``;
    how far on or off the teacher is does not count. Summed over units, mean over the batch.
    """
    shortfall = torch.where(teacher > 0, margin - student, margin + student)
    return F.relu(shortfall).square().sum() / len(student)


def connector(student_channels: int, teacher_channels: int) -> nn.Module:
    """1x1 convolution without bias, then BN (authors' code); nothing where the widths agree."""
    if student_channels == teacher_channels:
        return nn.Identity()
    conv = nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, Norm(teacher_channels))


def regression_connector(student: MapShape, teacher: MapShape) -> nn.Module:
    """The CRD benchmark's connector; nothing where the shapes (C, H, W) agree."""
    return nn.Identity() if student == teacher else regression(student, teacher)
