"""NST: match the distributions of the channels' activation maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.checks import require_positive
from methods.blocks.pairing import pool_to_smaller, stage_count_mismatch, stage_pairs
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class NST(Method):
    """CE + weight times the sum over stages of the squared MMD of the channels' maps."""

    name = "nst"
    version = 1
    paper = Paper(
        "Huang and Wang",
        "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer",
        "arXiv",
        2017,
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the CRD benchmark's CIFAR-100 table."""

        weight: float = 50.0
        view: View = "stages"
        """Whose feature maps are read, see ``methods.interface.View``."""

        def __post_init__(self) -> None:
            require_positive(self, "weight")

    config: Config
    presets = MappingProxyType({"crd": Config(view="crd")})

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        return stage_count_mismatch(student, teacher)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        pairs = stage_pairs(student, teacher, self.config.view)
        losses = [squared_mmd(*pool_to_smaller(s, t)) for s, t in pairs]
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "nst": self.config.weight * torch.stack(losses).sum(),
        }


def squared_mmd(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared MMD of the channels' maps: (B, C_s, H, W), (B, C_t, H, W) -> scalar, mean over B.

    Each channel of an image is a sample of the distribution: its map, normalised to length 1.
    """
    s, t = (F.normalize(x.flatten(2), dim=2) for x in (student, teacher))
    return kernel_mean(t, t) + kernel_mean(s, s) - 2 * kernel_mean(s, t)


def kernel_mean(a: Tensor, b: Tensor) -> Tensor:
    """Mean of the polynomial kernel k(x, y) = (x . y)^2 over images and pairs of channels.

    (B, C_a, N), (B, C_b, N) -> scalar.
    """
    return (a @ b.transpose(1, 2)).square().mean()
