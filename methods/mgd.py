"""MGD: generate the teacher's feature map from a masked map of the student."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_within
from methods.blocks.draws import Draws
from methods.blocks.pairing import pool_to_smaller
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes

Masked = Literal["channels", "positions"]


class MGD(Method):
    """CE + weight times the squared error of the generated last map."""

    name = "mgd"
    version = 1
    paper = Paper(
        "Yang, Li, Shao, Shi, Yuan and Yuan", "Masked Generative Distillation", "ECCV", 2022
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' image classification code, for ImageNet."""

        weight: float = 7e-5
        """Weight of a sum over channels and positions: larger maps count more."""
        ratio: float = 0.15
        """Probability that a channel or position is masked."""
        masked: Masked = "channels"

        def __post_init__(self) -> None:
            require_non_negative(self, "weight")
            require_within("[0, 1)", self, "ratio")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        inputs, outputs = student.stages[-1][0], teacher.stages[-1][0]
        self.connector = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.generator = generator(outputs)
        self.draws = Draws()

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        aligned, target = pool_to_smaller(self.connector(student.stages[-1]), teacher.stages[-1])
        mask = draw_mask(self.draws, aligned, self.config.ratio, self.config.masked)
        loss = generation_loss(self.generator(aligned * mask), target)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "mgd": self.config.weight * loss,
        }


def generation_loss(generated: Tensor, teacher: Tensor) -> Tensor:
    """L_dis: (B, C, H, W) twice -> scalar, sum over channels and positions, mean over B."""
    return (generated - teacher).square().sum() / len(teacher)


def draw_mask(draws: Draws, x: Tensor, ratio: float, masked: Masked) -> Tensor:
    """Draw 1 for kept and 0 for masked parts of ``x``: (B, C, 1, 1) or (B, 1, H, W)."""
    batch, channels, height, width = x.shape
    shape = (batch, channels, 1, 1) if masked == "channels" else (batch, 1, height, width)
    return (draws.uniform(shape) >= ratio).to(x.dtype)


def generator(channels: int) -> nn.Module:
    """Generation block: two 3x3 convolutions with a ReLU in between."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
