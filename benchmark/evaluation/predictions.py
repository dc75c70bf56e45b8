"""The predictions of a network on the test images: logits and pooled features.

They are kept on the host, where they take no GPU memory from training. ImageNet's 50,000 images
need 200 MB for the logits and 200 MB per thousand channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data.stream import TestBatches
from methods.interface import Features

CHUNK_ROWS = 4096
"""Images per chunk of a computation in float64."""


class Predictions(NamedTuple):
    """Predictions for N images: float32, on the host."""

    logits: Tensor
    """(N, K)."""
    labels: Tensor
    """(N,) int64."""
    maps: Mapping[str, Tensor]
    """(N, C) by layer: stem, stage 1 to n, embedding."""
    images: Tensor
    """The first two test images as the network gets them, on its device."""

    @property
    def predicted(self) -> Tensor:
        """(N,) int64, the class with the highest logit."""
        return self.logits.argmax(dim=1)

    def as_npy(self) -> bytes:
        """Return a .npy file of (2, N) uint16: the predicted class of each image, and its label."""
        file = io.BytesIO()
        np.save(file, torch.stack([self.predicted, self.labels]).numpy().astype(np.uint16))
        return file.getvalue()


@torch.no_grad()
def predict(network: nn.Module, test: TestBatches) -> Predictions:
    """Return a network's predictions for all test images. Puts it into eval mode.

    Synchronises with the device once a batch.
    """
    network.eval()
    table, done = torch.empty(0), 0
    for images, labels in test.batches():
        parts = pooled_features(network(images))
        rows = torch.cat([*parts.values()], dim=1).cpu()
        if done == 0:
            first = images[:2].clone()
            widths = [part.shape[1] for part in parts.values()]
            table = torch.empty(len(test.labels), sum(widths))
        table[done : done + len(labels)] = rows
        done += len(labels)
    columns = dict(zip(parts, torch.split(table, widths, dim=1), strict=True))
    return Predictions(columns.pop("logits"), test.labels.cpu(), columns, first)


def pooled_features(features: Features) -> dict[str, Tensor]:
    """Return the logits and, averaged over positions, (B, C) of each layer; float32."""
    stages = {f"stage {i}": stage for i, stage in enumerate(features.stages, 1)}
    maps = {"stem": features.stem, **stages}
    pooled = {layer: x.mean(dim=(2, 3)) for layer, x in maps.items()}
    parts = {"logits": features.logits, **pooled, "embedding": features.embedding}
    return {name: part.float() for name, part in parts.items()}


def float64_chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the tensors in chunks of `CHUNK_ROWS` rows; floating-point ones as float64."""
    for parts in zip(*(torch.split(tensor, CHUNK_ROWS) for tensor in tensors), strict=True):
        yield tuple(part.double() if part.is_floating_point() else part for part in parts)
