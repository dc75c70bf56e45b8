"""FT: compress the teacher's maps by an autoencoder, then match its code, the factor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_positive, require_within
from methods.blocks.normalise import Norm
from methods.blocks.pairing import pool_to_smaller
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

CRD_RESNET_STAGES = 3
"""Stages of the networks for which the CRD benchmark lowers the rate of the first phase."""


class FT(Method):
    """Phase 1: autoencoder of the teacher's last maps. Phase 2: CE + beta * factor distance.

    The paraphraser has no batch norm (authors' code): without a gradient nothing in it changes.
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
        """Defaults: the authors' CIFAR-10 code."""

        rate: float = 0.5
        """Paraphrase rate k: channels of a factor per channel of the teacher."""
        beta: float = 500.0
        p: int = 1
        """Power of the distance between factors, 1 or 2."""
        init_share: float = 0.125
        """Share of the epochs that the first phase gets: 30 of 240."""
        compares: Literal["factors", "energies"] = field(default="factors", metadata=LATER)
        """The factors, or the mean of their squares over channels (the CRD benchmark)."""
        reconstruction: Literal["relative", "mean"] = field(default="relative", metadata=LATER)
        """Squared error of the paraphraser: divided by the maps' energy, or its mean."""
        translator: Literal["plain", "norm"] = field(default="plain", metadata=LATER)
        """``norm``: with a batch norm after each convolution of the translator."""
        view: View = field(default="stages", metadata=LATER)
        """Whose feature maps are read, see ``methods.interface.View``."""
        init_lr: float | None = field(default=None, metadata=LATER)
        """Learning rate of the first phase for a student of three stages; for others, and with
        None, the recipe's."""

        def __post_init__(self) -> None:
            require_positive(self, "rate", "beta")
            if self.init_lr is not None:
                require_positive(self, "init_lr")
            require_within("(0, 1)", self, "init_share")
            if self.p not in (1, 2):
                raise ValueError(f"p must be 1 or 2, not {self.p}")

    config: Config
    presets = MappingProxyType(
        {
            "crd": Config(
                beta=200.0,
                compares="energies",
                reconstruction="mean",
                translator="norm",
                view="crd",
                init_lr=0.01,
            )
        }
    )

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        student_width, width = student.stages[-1][0], teacher.stages[-1][0]
        factors = max(1, round(config.rate * width))
        self.encoder = encoder(width, factors)
        self.decoder = decoder(factors, width)
        self.translator = encoder(student_width, factors, norm=config.translator == "norm")
        self.init_lr = config.init_lr if len(student.stages) == CRD_RESNET_STAGES else None

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Sec. 3: the paraphraser alone, then the student and its translator."""
        paraphrase, distill = budget.split(self.config.init_share)
        lr: float | Literal["constant"] = self.init_lr or "constant"
        return [
            Phase("paraphrase", paraphrase, self._paraphrase, reads_student=False, lr=lr),
            Phase("distill", distill, self._distill),
        ]

    def _paraphrase(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        maps = teacher.viewed(self.config.view).stages[-1]
        loss = reconstruction_loss if self.config.reconstruction == "relative" else F.mse_loss
        return {"paraphrase": loss(self.decoder(self.encoder(maps)), maps)}

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        # Without a gradient the optimizer skips the paraphraser; with zeros, weight decay acts.
        s, t = (x.viewed(self.config.view).stages[-1] for x in (student, teacher))
        with torch.no_grad():
            target = self.encoder(t)
        pair = pool_to_smaller(self.translator(s), target)
        if self.config.compares == "energies":
            pair = channel_energies(pair[0]), channel_energies(pair[1])
        distance = factor_loss(*pair, self.config.p)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "ft": self.config.beta * distance,
        }


def reconstruction_loss(paraphrased: Tensor, maps: Tensor) -> Tensor:
    """||x - P(x)||^2 / ||x||^2: (B, C, H, W) twice -> scalar.

    Sec. 3.1 has no denominator. It keeps the step size independent of the teacher's feature scale:
    without it the paraphraser diverges for large features.
    """
    energy = maps.square().mean().clamp_min(1e-6)
    return (paraphrased - maps).square().mean() / energy


def factor_loss(student: Tensor, teacher: Tensor, p: int) -> Tensor:
    """Distance of normalised factors, sec. 3.2: (B, C, H, W) twice -> scalar.

    The mean of |difference|^p over all elements (authors' code).
    """
    s, t = (F.normalize(x.flatten(1), dim=1) for x in (student, teacher))
    return (s - t).abs().pow(p).mean()


def channel_energies(factor: Tensor) -> Tensor:
    """The mean over channels of the squares: (B, C, H, W) -> (B, 1, H, W)."""
    return factor.square().mean(dim=1, keepdim=True)


def encoder(channels: int, factors: int, norm: bool = False) -> nn.Sequential:
    """Three 3x3 convolutions, channels -> factors; also the translator's architecture."""
    return _leaky_convs(nn.Conv2d, (channels, channels, factors, factors), norm)


def decoder(factors: int, channels: int) -> nn.Sequential:
    """Three 3x3 transposed convolutions, factors -> channels."""
    return _leaky_convs(nn.ConvTranspose2d, (factors, factors, channels, channels))


def _leaky_convs(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], widths: tuple[int, ...], norm: bool = False
) -> nn.Sequential:
    layers = nn.Sequential()
    for before, after in pairwise(widths):
        layers.append(kind(before, after, kernel_size=3, padding=1))
        if norm:
            layers.append(Norm(after))
        layers.append(nn.LeakyReLU(0.1))
    return layers
