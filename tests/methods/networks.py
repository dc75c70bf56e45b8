"""A small convolutional network and batches for the tests of methods."""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.interface import Batch, Features, Given

CLASSES = 5


class TinyNet(nn.Module):
    """A stem and one convolution with BN a stage; every stage after the first halves the map."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=1 if i == 0 else 2, padding=1, bias=False),
                nn.BatchNorm2d(after),
            )
            for i, (before, after) in enumerate(pairwise(widths))
        )
        self.classifier = nn.Linear(widths[-1], CLASSES)

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        return tuple(cast(nn.BatchNorm2d, cast(nn.Sequential, stage)[1]) for stage in self.stages)

    @property
    def behind_stages(self) -> tuple[nn.Module, ...]:
        return (self.classifier,)

    def forward(self, images: Tensor) -> Features:
        raw = self.stem(images)
        x = stem = F.relu(raw)
        stages, preacts = [], []
        for stage in self.stages:
            preacts.append(stage(x))
            x = F.relu(preacts[-1])
            stages.append(x)
        embedding = x.mean(dim=(2, 3))
        logits = self.classifier(embedding)
        return Features(
            stem,
            tuple(stages),
            tuple(preacts),
            embedding,
            logits,
            crd=(raw, *preacts),
            crd_preacts=tuple(x.flip(1) for x in preacts),
        )


def map_tensors(features: Features, change: Callable[[Tensor], Tensor]) -> Features:
    """Apply a function to every tensor of the features."""
    return Features._make(
        change(x) if isinstance(x, Tensor) else tuple(map(change, x)) for x in features
    )


def images(size: int = 4, side: int = 8) -> Tensor:
    """Noise images (size, 3, side, side)."""
    return torch.randn(size, 3, side, side, generator=torch.Generator().manual_seed(0))


def batch(size: int = 4, progress: float = 0.5) -> Batch:
    """Labels and positions for that many images."""
    return Batch(torch.arange(size) % CLASSES, torch.arange(size), torch.tensor(progress))


def given(teacher: TinyNet, samples: int = 40, batch_size: int = 4) -> Given:
    """The inputs that a method's ``__init__`` may have parameters for."""
    labels = torch.arange(samples) % CLASSES
    return Given(teacher.classifier, teacher.norms, labels, batch_size)


def noise(*shape: int, seed: int = 0, grad: bool = False) -> Tensor:
    """Normal noise in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(grad)
