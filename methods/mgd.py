"""MGD: from a masked map of the student, a small network must make the teacher's whole map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.draws import Draws
from methods.blocks.pairing import pooled_alike
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes

Masked = Literal["channels", "positions"]


class MGD(Method):
    """CE + weight * the squared error of the teacher's last map as made from a masked one."""

    name = "mgd"
    version = 1
    paper = Paper(
        "Yang, Li, Shao, Shi, Yuan and Yuan", "Masked Generative Distillation", "ECCV", 2022
    )

    @dataclass(frozen=True)
    class Config:
        """The values of the authors' image classification code, for ImageNet."""

        weight: float = 7e-5
        """Of a sum over channels and positions, so that it counts more on larger maps."""
        ratio: float = 0.15
        """The chance of a channel or position to be masked."""
        masked: Masked = "channels"

        def __post_init__(self) -> None:
            if not self.weight >= 0:
                raise ValueError(f"weight must not be negative, not {self.weight}")
            if not 0 <= self.ratio < 1:
                raise ValueError(f"ratio must lie in [0, 1), not {self.ratio}")
            if self.masked not in get_args(Masked):
                raise ValueError(f"masked must be one of {get_args(Masked)}, not {self.masked}")

    config: Config

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        inputs, outputs = student.stages[-1][0], teacher.stages[-1][0]
        self.connector = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.generator = generator(outputs)
        self.draws = Draws()

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase, all of the budget."""
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        aligned, target = pooled_alike(self.connector(student.stages[-1]), teacher.stages[-1])
        mask = kept(self.draws, aligned, self.config.ratio, self.config.masked)
        loss = generation_loss(self.generator(aligned * mask), target)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "mgd": self.config.weight * loss,
        }


def generation_loss(generated: Tensor, teacher: Tensor) -> Tensor:
    """L_dis: (B, C, H, W) twice -> scalar, summed over channels and positions, mean over B."""
    return (generated - teacher).square().sum() / len(teacher)


def kept(draws: Draws, x: Tensor, ratio: float, masked: Masked) -> Tensor:
    """1 where ``x`` (B, C, H, W) is kept, 0 where it is masked: (B, C, 1, 1) or (B, 1, H, W)."""
    batch, channels, height, width = x.shape
    shape = (batch, channels, 1, 1) if masked == "channels" else (batch, 1, height, width)
    return (draws.uniform(shape) >= ratio).to(x.dtype)


def generator(channels: int) -> nn.Module:
    """The paper's generation block: two 3x3 convolutions and a ReLU between them."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
