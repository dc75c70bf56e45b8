"""ReviewKD: match each stage of the teacher by a fusion of the student's stages from it on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_within
from methods.blocks.normalise import Norm
from methods.blocks.pairing import stage_count_mismatch
from methods.blocks.schedules import warm_up
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes

MIDDLE = 512
"""Upper bound of the fused maps' width, which is else the width of the student's embedding."""


class ReviewKD(Method):
    """CE + warm_up * weight times the sum over levels of the hierarchical context loss."""

    name = "reviewkd"
    version = 1
    paper = Paper(
        "Chen, Liu, Zhao and Jia", "Distilling Knowledge via Knowledge Review", "CVPR", 2021
    )

    @dataclass(frozen=True)
    class Config:
        """Defaults: the authors' CIFAR-100 program."""

        weight: float = 1.0
        """The program's default; the scripts set 0.6 to 8, depending on the pair."""
        warmup_share: float = 1 / 12
        """Share of the phase over which the weight rises from 0: 20 of 240 epochs."""

        def __post_init__(self) -> None:
            require_non_negative(self, "weight")
            require_within("[0, 1]", self, "warmup_share")

    config: Config

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        return stage_count_mismatch(student, teacher)

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        widths = [*(stage[0] for stage in student.stages), student.embedding]
        targets = [*(stage[0] for stage in teacher.stages), teacher.embedding]
        middle = min(MIDDLE, student.embedding)
        self.fusions = nn.ModuleList(
            Fusion(width, middle, target, fuses=level < len(widths) - 1)
            for level, (width, target) in enumerate(zip(widths, targets, strict=True))
        )

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        targets = [*teacher.preacts, embedding_as_map(teacher.embedding)]
        reviewed = self.review(
            [*student.stages, embedding_as_map(student.embedding)],
            [(target.shape[2], target.shape[3]) for target in targets],
        )
        losses = [context_loss(s, t) for s, t in zip(reviewed, targets, strict=True)]
        weight = self.config.weight * warm_up(batch.progress, self.config.warmup_share)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "reviewkd": weight * torch.stack(losses).sum(),
        }

    def review(self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Sec. 3.2: fuse from the deepest level (the embedding) to the first stage.

        The student's maps (B, C_i, H_i, W_i), shallow to deep -> (B, teacher's width, *size) each.
        """
        reviewed: list[Tensor] = []
        deeper = None
        for fusion, x, size in reversed(list(zip(self.fusions, maps, sizes, strict=True))):
            out, deeper = fusion(x, deeper, size)
            reviewed.insert(0, out)
        return reviewed


class Fusion(nn.Module):
    """ABF, sec. 3.3: add a level and the deeper fused map, with attention per position."""

    def __init__(self, width: int, middle: int, target: int, *, fuses: bool) -> None:
        super().__init__()
        self.enter = _conv_norm(width, middle, kernel=1)
        self.leave = _conv_norm(middle, target, kernel=3)
        self.attend = nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid()) if fuses else None

    def forward(
        self, x: Tensor, deeper: Tensor | None, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """(B, width, H, W), (B, middle, h, w) -> (B, target, *size), (B, middle, *size)."""
        x = self.enter(x)
        if self.attend is not None and deeper is not None:
            deeper = resize_nearest(deeper, (x.shape[2], x.shape[3]))
            shares = self.attend(torch.cat([x, deeper], dim=1))
            x = x * shares[:, :1] + deeper * shares[:, 1:]
        fused = resize_nearest(x, size)
        return self.leave(fused), fused


def context_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """HCL, sec. 3.3: (B, C, H, W) twice -> scalar.

    Mean squared differences of the maps and of the maps pooled to 4x4, 2x2 and 1x1 (those that are
    smaller), averaged with weights 1, 1/2, 1/4, 1/8.
    """
    difference = student - teacher  # pooling is linear, so that one pooling serves both maps
    losses, weights = [difference.square().mean()], [1.0]
    for side in (4, 2, 1):
        if side < min(difference.shape[2:]):
            weights.append(weights[-1] / 2)
            losses.append(weights[-1] * average_pool(difference, side).square().mean())
    return torch.stack(losses).sum() / sum(weights)


def average_pool(x: Tensor, side: int) -> Tensor:
    """Adaptive average pooling: (B, C, H, W) -> (B, C, side, side)."""
    height, width = x.shape[2:]
    if height % side == 0 and width % side == 0:
        return F.avg_pool2d(x, (height // side, width // side))
    # Slices, because adaptive pooling's gradient is not deterministic on a GPU.
    rows = torch.stack([x[:, :, a:b].mean(dim=2) for a, b in _windows(height, side)], dim=2)
    return torch.stack([rows[..., a:b].mean(dim=3) for a, b in _windows(width, side)], dim=3)


def resize_nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) to (B, C, *size) by nearest-neighbour interpolation."""
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="nearest")


def embedding_as_map(embedding: Tensor) -> Tensor:
    """(B, D) -> (B, D, 1, 1)."""
    return embedding[:, :, None, None]


def _windows(length: int, count: int) -> list[tuple[int, int]]:
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def _conv_norm(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, Norm(outputs))
