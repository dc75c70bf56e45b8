"""Attention transfer: match where, not what, the teacher's activations are strong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.pairing import pooled_alike, unequal_stages
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class AT(Method):
    """CE + beta * sum over stages of the distance between normalised attention maps."""

    name = "at"
    version = 1
    paper = Paper(
        "Zagoruyko and Komodakis",
        "Paying More Attention to Attention: Improving the Performance of Convolutional Neural "
        "Networks via Attention Transfer",
        "ICLR",
        2017,
    )

    @dataclass(frozen=True)
    class Config:
        """The form and the value of the authors' code, which belong together."""

        beta: float = 1000.0
        form: Literal["code", "paper"] = "code"
        """The distance of two maps: its mean square, or half its norm, as sec. 3.1 has it.

        To the norm belongs a much smaller beta: the paper divides 1000 by a map's positions."""
        view: View = "stages"
        """Which maps are read: ours, or the CRD benchmark's, which are others on wide ResNets."""

        def __post_init__(self) -> None:
            if self.form not in ("code", "paper"):
                raise ValueError(f"form must be code or paper, not {self.form}")
            if not self.beta >= 0:
                raise ValueError(f"beta must not be negative, not {self.beta}")
            if self.view not in get_args(View):
                raise ValueError(f"view must be stages or crd, not {self.view}")

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {"crd": Config(view="crd")}

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """Stage pairs with stage."""
        return unequal_stages(student, teacher)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        seen, shown = student.viewed(self.config.view), teacher.viewed(self.config.view)
        pairs = zip(seen.stages, shown.stages, strict=True)
        loss = attention_loss if self.config.form == "code" else half_distance
        distance = torch.stack([loss(s, t) for s, t in pairs]).sum()
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "at": self.config.beta * distance,
        }


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two attention maps: (B, C, H, W) and (B, C', H', W') -> scalar.

    The authors' code; sec. 3.1 has the norm itself. Maps that differ in size are pooled first.
    """
    student, teacher = pooled_alike(student, teacher)
    return F.mse_loss(attention_map(student), attention_map(teacher))


def half_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the distance of two attention maps: (B, C, H, W) and (B, C', H', W') -> scalar.

    Sec. 3.1, eq. 2 without beta: the norm itself, not squared, mean over the batch; its gradient
    at maps that agree is 0. Maps that differ in size are pooled first.
    """
    student, teacher = pooled_alike(student, teacher)
    difference = attention_map(student) - attention_map(teacher)
    lengths: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return lengths.mean() / 2


def attention_map(features: Tensor) -> Tensor:
    """Sec. 3.1, F_sum^2 of (B, C, H, W), normalised: (B, HW), each row of length 1.

    All-zero features give an all-zero map.
    """
    # The mean in place of the sum: the same after normalising, and it cannot overflow as soon.
    return F.normalize(features.square().mean(dim=1).flatten(1), dim=1)
