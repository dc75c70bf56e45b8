"""NST: the student's channels light up where the teacher's do, as distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.pairing import pooled_alike, unequal_stages
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class NST(Method):
    """CE + weight times the squared maximum mean discrepancy of the channels' maps."""

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
        """The weight of the field's main CIFAR-100 table."""

        weight: float = 50.0
        view: View = "stages"
        """Which maps are read: ours, or the CRD benchmark's, which are others on wide ResNets."""

        def __post_init__(self) -> None:
            if not self.weight > 0:
                raise ValueError(f"weight must be positive, not {self.weight}")
            if self.view not in get_args(View):
                raise ValueError(f"view must be stages or crd, not {self.view}")

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {"crd": Config(view="crd")}

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """Stage pairs with stage; widths are free, for a distribution has any number of samples."""
        return unequal_stages(student, teacher)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        seen, shown = student.viewed(self.config.view), teacher.viewed(self.config.view)
        pairs = zip(seen.stages, shown.stages, strict=True)
        losses = [discrepancy(*pooled_alike(s, t)) for s, t in pairs]
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "nst": self.config.weight * torch.stack(losses).sum(),
        }


def discrepancy(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared MMD of the channels' maps: (B, C_s, H, W), (B, C_t, H, W) -> scalar, mean over B.

    Each channel of an image is a sample, its map a point of length 1 (zero where the map is).
    """
    s, t = (F.normalize(x.flatten(2), dim=2) for x in (student, teacher))
    return kernel_mean(t, t) + kernel_mean(s, s) - 2 * kernel_mean(s, t)


def kernel_mean(a: Tensor, b: Tensor) -> Tensor:
    """Mean of k(x, y) = (x . y)^2 over the images and the pairs of channels.

    (B, C_a, N), (B, C_b, N) -> scalar; the polynomial kernel with d = 2 and c = 0.
    """
    return (a @ b.transpose(1, 2)).square().mean()
