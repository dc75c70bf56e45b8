"""AB: match which of the teacher's units are active, then distil its logits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_positive, require_within
from methods.blocks.pairing import (
    MapShape,
    conv1x1_norm,
    conv_regressor,
    conv_regressor_mismatch,
    halving_sum,
    pool_to_smaller,
    stage_count_mismatch,
)
from methods.interface import (
    LATER,
    Batch,
    Budget,
    Features,
    Losses,
    Method,
    Paper,
    Phase,
    Shapes,
    View,
)
from methods.kd import kl_divergence
from methods.scratch import task_loss


class AB(Method):
    """Boundary loss on pre-activations, then KL alone; preset ``crd``: then CE alone."""

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
        """Defaults: the authors' CIFAR-10 code, for networks of three stages."""

        margin: float = 1.0
        scale: float = 3 / 1000
        """Weight of the last stage; 1/1000 for the authors' networks of four stages."""
        connector: Literal["he", "regression"] = "he"
        """``he``: the authors' 1x1 convolution. ``regression``: the CRD benchmark's."""
        second_phase: Literal["kd", "ce"] = "kd"
        """Loss after the initialisation: KL to the teacher's logits, or CE with the labels."""
        temperature: float = 3.0
        """Softens the logits of the second phase ``kd``."""
        init_share: float = 0.125
        """Share of the epochs that the first phase gets: 30 of 240."""
        view: View = field(default="stages", metadata=LATER)
        """Whose pre-activations are read, see ``methods.interface.View``."""
        head: Literal["trains", "stays"] = field(default="trains", metadata=LATER)
        """What follows the student's last stage in the first phase. On wide ResNets that includes
        the batch norm of the last pre-activation. ``stays``: as it was initialised, in eval mode.
        """

        def __post_init__(self) -> None:
            require_positive(self, "margin", "scale", "temperature")
            require_within("(0, 1)", self, "init_share")
            if self.second_phase == "ce" and self.temperature != type(self).temperature:
                raise ValueError("temperature has no effect where second_phase is ce")

    config: Config
    presets = MappingProxyType(
        {"crd": Config(connector="regression", second_phase="ce", view="crd", head="stays")}
    )

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        if reason := stage_count_mismatch(student, teacher):
            return reason
        if config.connector == "he":
            return None
        pairs = zip(student.stages, teacher.stages, strict=True)
        return next(filter(None, (conv_regressor_mismatch(s, t) for s, t in pairs)), None)

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        pairs = zip(student.stages, teacher.stages, strict=True)
        if config.connector == "he":
            self.connectors = nn.ModuleList(connector(s[0], t[0]) for s, t in pairs)
        else:
            self.connectors = nn.ModuleList(crd_connector(s, t) for s, t in pairs)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Sec. 3: initialise, then distil without labels; preset ``crd``: then train on labels."""
        init, second = budget.split(self.config.init_share)
        keeps_head = self.config.head == "stays"
        first = Phase("init", init, self._init, lr="constant", keeps_head=keeps_head)
        if self.config.second_phase == "ce":
            return [first, Phase("task", second, task_loss, reads_teacher=False)]
        return [first, Phase("distill", second, self._distill)]

    def _init(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        s_maps, t_maps = (x.viewed(self.config.view).preacts for x in (student, teacher))
        triples = zip(self.connectors, s_maps, t_maps, strict=True)
        losses = [
            boundary_loss(*pool_to_smaller(connect(s), t), self.config.margin)
            for connect, s, t in triples
        ]
        return {"ab": self.config.scale * halving_sum(losses)}

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"kd": kl_divergence(student.logits, teacher.logits, self.config.temperature)}


def boundary_loss(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Alternative loss of sec. 3: pre-activations (B, C, H, W) of both networks -> scalar.

    A unit that is active in the teacher is pushed above ``margin``, any other below ``-margin``;
    the teacher's magnitudes do not count. Sum over units, mean over the batch.
    """
    shortfall = torch.where(teacher > 0, margin - student, margin + student)
    return F.relu(shortfall).square().sum() / len(student)


def connector(student_channels: int, teacher_channels: int) -> nn.Module:
    """The authors' connector; the identity if the widths are equal."""
    if student_channels == teacher_channels:
        return nn.Identity()
    return conv1x1_norm(student_channels, teacher_channels)


def crd_connector(student: MapShape, teacher: MapShape) -> nn.Module:
    """The CRD benchmark's connector; the identity if the shapes are equal."""
    return nn.Identity() if student == teacher else conv_regressor(student, teacher)
