"""AT: match the positions at which the teacher's activations are strong."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative
from methods.blocks.pairing import pool_to_smaller, stage_count_mismatch, stage_pairs
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class AT(Method):
    """CE + beta times the sum over stages of the distance between attention maps."""

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
        """Defaults: the authors' code. ``beta`` belongs to ``form``: change both or neither."""

        beta: float = 1000.0
        form: Literal["code", "paper"] = "code"
        """Distance of two maps: the mean square of their difference, or half its norm (eq. 2).

        The norm needs a much smaller beta: the paper's is 1000 / (number of positions)."""
        view: View = "stages"
        """Whose feature maps are read, see ``methods.interface.View``."""

        def __post_init__(self) -> None:
            require_non_negative(self, "beta")

    config: Config
    presets = MappingProxyType({"crd": Config(view="crd")})

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        return stage_count_mismatch(student, teacher)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        pairs = stage_pairs(student, teacher, self.config.view)
        loss = attention_loss if self.config.form == "code" else half_norm_loss
        distance = torch.stack([loss(s, t) for s, t in pairs]).sum()
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "at": self.config.beta * distance,
        }


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of attention maps: (B, C, H, W), (B, C', H', W') -> scalar.

    This is the authors' code; eq. 2 has the norm, see ``half_norm_loss``. Maps are pooled to equal
    size first.
    """
    student, teacher = pool_to_smaller(student, teacher)
    return F.mse_loss(attention_map(student), attention_map(teacher))


def half_norm_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the norm of the difference of attention maps: (B, C, H, W), (B, C', H', W') -> scalar.

    Sec. 3.1, eq. 2 without beta, mean over the batch. The gradient at equal maps is 0. Maps are
    pooled to equal size first.
    """
    student, teacher = pool_to_smaller(student, teacher)
    difference = attention_map(student) - attention_map(teacher)
    lengths: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return lengths.mean() / 2


def attention_map(features: Tensor) -> Tensor:
    """Sec. 3.1, F_sum^2: features (B, C, H, W) -> (B, HW), rows of length 1 (or 0)."""
    # The mean equals the sum after normalisation and overflows later.
    return F.normalize(features.square().mean(dim=1).flatten(1), dim=1)
