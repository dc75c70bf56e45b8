"""What a network makes of the test images: its logits, and its maps averaged over their positions.

All of it lies on the host, where it outlives the batch and competes with no training for memory:
of ImageNet's 50,000 images 200 MB of logits, and as much for every thousand channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data.stream import Tests
from methods.interface import Features

ROWS = 4096
"""Images of which numbers are worked out in float64 at once."""


class Answers(NamedTuple):
    """Of N images, float32, on the host."""

    logits: Tensor
    """(N, K)."""
    labels: Tensor
    """(N,) int64."""
    maps: Mapping[str, Tensor]
    """(N, C) by place: stem, stage 1 to n, embedding."""
    images: Tensor
    """The first two, as the network sees them, on its device."""

    @property
    def predicted(self) -> Tensor:
        """(N,) int64, the class of the highest logit."""
        return self.logits.argmax(dim=1)

    def as_npy(self) -> bytes:
        """Return a file of (2, N) uint16: of every image the predicted class, and its label."""
        file = io.BytesIO()
        np.save(file, torch.stack([self.predicted, self.labels]).numpy().astype(np.uint16))
        return file.getvalue()


@torch.no_grad()
def answers(network: nn.Module, test: Tests) -> Answers:
    """Show all images to a network, put into eval mode and left there; one wait a batch."""
    network.eval()
    table, done = torch.empty(0), 0
    for images, labels in test.batches():
        parts = shown(network(images))
        rows = torch.cat([*parts.values()], dim=1).cpu()
        if done == 0:
            first = images[:2].clone()
            widths = [part.shape[1] for part in parts.values()]
            table = torch.empty(len(test.labels), sum(widths))
        table[done : done + len(labels)] = rows
        done += len(labels)
    columns = dict(zip(parts, torch.split(table, widths, dim=1), strict=True))
    return Answers(columns.pop("logits"), test.labels.cpu(), columns, first)


def shown(features: Features) -> dict[str, Tensor]:
    """Return (B, C) of each place, and the logits."""
    stages = {f"stage {i}": stage for i, stage in enumerate(features.stages, 1)}
    maps = {"stem": features.stem, **stages}
    pooled = {place: x.mean(dim=(2, 3)) for place, x in maps.items()}
    parts = {"logits": features.logits, **pooled, "embedding": features.embedding}
    return {name: part.float() for name, part in parts.items()}


def in_parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield so many rows of each at a time; float32 as float64."""
    for parts in zip(*(torch.split(tensor, ROWS) for tensor in tensors), strict=True):
        yield tuple(part.double() if part.is_floating_point() else part for part in parts)
