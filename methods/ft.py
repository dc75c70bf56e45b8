"""FT: paraphrase what the teacher knows, then have the student's translation match it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.pairing import pooled_alike
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes


class FT(Method):
    """Train an autoencoder of the teacher's last maps; then CE + beta times the factors' distance.

    No part of it has batch norms, as in the authors' code: without a gradient nothing moves.
    """

    name = "ft"
    version = 1
    paper = Paper(
        "Kim, Park and Kwak",
        "Paraphrasing Complex Network: Network Compression via Factor Transfer",
        "NeurIPS",
        2018,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' CIFAR-10 code."""

        rate: float = 0.5
        """The paraphrase rate k: channels of a factor per channel of the teacher."""
        beta: float = 500.0
        p: int = 1
        """Power of the distance between factors, 1 or 2."""
        init_share: float = 0.125
        """How much of the budget the paraphraser gets: 30 of 240 epochs."""

        def __post_init__(self) -> None:
            for field in ("rate", "beta"):
                if not getattr(self, field) > 0:
                    raise ValueError(f"{field} must be positive, not {getattr(self, field)}")
            if self.p not in (1, 2):
                raise ValueError(f"p must be 1 or 2, not {self.p}")
            if not 0 < self.init_share < 1:
                raise ValueError(f"init_share must lie between 0 and 1, not {self.init_share}")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        ours, theirs = student.stages[-1][0], teacher.stages[-1][0]
        factors = max(1, round(config.rate * theirs))
        self.encoder = encoder(theirs, factors)
        self.decoder = decoder(factors, theirs)
        self.translator = encoder(ours, factors)

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Sec. 3: the paraphraser on its own, then the student with its translator."""
        paraphrase, distill = budget.split(self.config.init_share)
        return [
            Phase("paraphrase", paraphrase, self._paraphrase, reads_student=False, lr="constant"),
            Phase("distill", distill, self._distill),
        ]

    def _paraphrase(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        maps = teacher.stages[-1]
        return {"paraphrase": reconstruction_loss(self.decoder(self.encoder(maps)), maps)}

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        # Without a gradient the paraphraser rests; with one of zero weight decay would move it.
        with torch.no_grad():
            target = self.encoder(teacher.stages[-1])
        factor = self.translator(student.stages[-1])
        distance = factor_loss(*pooled_alike(factor, target), self.config.p)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "ft": self.config.beta * distance,
        }


def reconstruction_loss(paraphrased: Tensor, maps: Tensor) -> Tensor:
    """||x - P(x)||^2 of sec. 3.1, as a share of ||x||^2: (B, C, H, W) twice -> scalar.

    The share has the same least value, and a step that does not grow with the teacher's features:
    with the plain square the paraphraser diverges where these are large.
    """
    energy = maps.square().mean().clamp_min(1e-6)
    return (paraphrased - maps).square().mean() / energy


def factor_loss(student: Tensor, teacher: Tensor, p: int) -> Tensor:
    """Distance of factors of length 1, sec. 3.2: (B, C, H, W) twice -> scalar.

    The mean of |difference|^p over all elements, as in the authors' code.
    """
    s, t = (F.normalize(x.flatten(1), dim=1) for x in (student, teacher))
    return (s - t).abs().pow(p).mean()


def encoder(channels: int, factors: int) -> nn.Sequential:
    """Three 3x3 convolutions, channels -> factors; the translator is built alike."""
    return _leaky(nn.Conv2d, (channels, channels, factors, factors))


def decoder(factors: int, channels: int) -> nn.Sequential:
    """Three 3x3 transposed convolutions, back to the teacher's width."""
    return _leaky(nn.ConvTranspose2d, (factors, factors, channels, channels))


def _leaky(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], widths: tuple[int, ...]
) -> nn.Sequential:
    layers = nn.Sequential()
    for before, after in pairwise(widths):
        layers.append(kind(before, after, kernel_size=3, padding=1))
        layers.append(nn.LeakyReLU(0.1))
    return layers
