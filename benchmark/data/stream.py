"""The stream: augmented batches as a pure function of (seed, epoch, index)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from benchmark.config.recipe import DatasetConfig
from benchmark.data.crops import InMemoryCrops, make_crops, resize
from benchmark.data.draws import Integers, below, random_words
from benchmark.data.source import Images, Source, Streamed
from benchmark.processes.distributed import SINGLE_PROCESS, Ranks


class TrainBatches(Protocol):
    """What a cohort trains on."""

    @property
    def count(self) -> int:
        """How many samples an epoch has."""

    @property
    def steps(self) -> int:
        """How many batches."""

    @property
    def device(self) -> torch.device:
        """Where they come to lie."""

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (inputs, labels, indices) for every batch of an epoch (from 0)."""


class TestBatches(Protocol):
    """What a network is measured on."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the device."""

    def batches(self, ranks: Ranks = SINGLE_PROCESS) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, labels); of several processes, every so many-th batch each."""


class Stream:
    """The train images, and the epochs of augmented batches that they make on a device."""

    def __init__(
        self,
        images: Images | Streamed,
        source: Source,
        config: DatasetConfig,
        *,
        seed: int,
        batch_size: int,
        device: torch.device,
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        self.seed, self.batch_size, self.flip, self.device = seed, batch_size, config.flip, device
        self.ranks = ranks
        self.count = len(images.labels)
        self.labels = images.labels.to(device)
        self.normalise = Normaliser(source, device)
        self.crops = make_crops(images, config, config.size or source.size, device)

    @property
    def steps(self) -> int:
        """Batches an epoch; the last one may be short and is kept."""
        return -(-self.count // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (images, labels, indices) on the device, for every batch of an epoch (from 0).

        Of several processes each sees its slice of every batch.
        """
        order, *columns, mirrored = self.table(epoch)
        starts = range(0, self.count, self.batch_size)
        sizes = [min(self.batch_size, self.count - start) for start in starts]
        if self.ranks.size > 1:
            mine = [np.arange(size)[self.ranks.slice_of_batch(size)] for size in sizes]
            places = np.concatenate([at + part for at, part in zip(starts, mine, strict=True)])
            order, mirrored = order[places], mirrored[places]
            columns, sizes = [column[places] for column in columns], [len(part) for part in mine]
        crops = self.crops.batches(order, columns, mirrored if self.flip else None, sizes)
        indices = torch.split(torch.from_numpy(order).to(self.device), sizes)
        for pixels, told in zip(crops, indices, strict=True):
            yield self.normalise(pixels), self.labels[told], told

    @property
    def resident(self) -> bool:
        """Whether the device can make a batch by itself: of images that lie there, all of it."""
        return isinstance(self.crops, InMemoryCrops) and self.ranks.size == 1

    def batch(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make what ``epoch`` yields of (columns, B) of its table, on the device without a wait."""
        assert isinstance(self.crops, InMemoryCrops)
        indices, *columns, mirrored = table
        pixels = self.crops.crop_batch(indices, columns, mirrored if self.flip else None)
        return self.normalise(pixels), self.labels[indices], indices

    def table(self, epoch: int) -> list[Integers]:
        """Make the epoch's columns: index, what the crop draws, whether mirrored."""
        order = np.argsort(random_words(self.seed, epoch, "order", self.count), kind="stable")
        mirrored = below(random_words(self.seed, epoch, "flip", self.count), 2)
        return [order, *(c[order] for c in (*self.crops.draw(self.seed, epoch), mirrored))]


def copy_to_device(values: Tensor, device: torch.device) -> Tensor:
    """Bring values from the host to a device, for which a GPU is not waited."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


class Normaliser:
    """Pixels to what networks read, by ToTensor's and Normalize's operations in order."""

    def __init__(self, source: Source, device: torch.device) -> None:
        self.mean = torch.tensor(source.mean, device=device)
        self.std = torch.tensor(source.std, device=device)
        self.rows: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to float32, channels last."""
        count, channels, height, width = pixels.shape
        if width not in self.rows:
            self.rows[width] = self.mean.repeat(width), self.std.repeat(width)
        mean, std = self.rows[width]
        # By whole rows of pixels: to spread three numbers over an image takes three times as long.
        rows = pixels.permute(0, 2, 3, 1).reshape(count, height, width * channels).float()
        rows = rows.div_(255).sub_(mean).div_(std)
        return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


class TestImages:
    """The test images, unaugmented, in large batches on a device.

    Those of another size than ``size`` are resized: in memory all of the image, on disk the centre.
    """

    __test__ = False  # pytest: this is no test

    def __init__(
        self,
        images: Images | Streamed,
        source: Source,
        device: torch.device,
        batch_size: int,
        size: int | None = None,
    ) -> None:
        self.labels, self.device, self.batch_size = images.labels.to(device), device, batch_size
        self.size = size or source.size
        self.images = images
        if isinstance(images, Images):
            self.images = Images(self.fitted(images.pixels.to(device)), self.labels)
        self.normalise = Normaliser(source, device)

    def batches(self, ranks: Ranks = SINGLE_PROCESS) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images, labels); of several processes, every so many-th batch each."""
        labels = torch.split(self.labels, self.batch_size)[ranks.rank :: ranks.size]
        for pixels, told in zip(self.pixels(ranks), labels, strict=True):
            yield self.normalise(pixels.to(self.device)), told

    def pixels(self, ranks: Ranks = SINGLE_PROCESS) -> Iterator[Tensor]:
        """Yield (B, 3, size, size) uint8."""
        if isinstance(self.images, Images):
            yield from torch.split(self.images.pixels, self.batch_size)[ranks.rank :: ranks.size]
        else:
            places = np.arange(len(self.labels))
            starts = range(0, len(places), self.batch_size)[ranks.rank :: ranks.size]
            batches = (places[i : i + self.batch_size] for i in starts)
            yield from self.images.centres(batches, self.size)

    def fitted(self, pixels: Tensor) -> Tensor:
        """Bring images in memory to the size that networks see."""
        _, _, height, width = pixels.shape
        if height == width == self.size:
            return pixels
        return torch.cat(
            [resize_whole(part, self.size) for part in torch.split(pixels, self.batch_size)]
        )


def resize_whole(pixels: Tensor, side: int) -> Tensor:
    """Resize all of each image."""
    count, _, height, width = pixels.shape
    box = [torch.full((count,), n, device=pixels.device) for n in (0, 0, height, width)]
    return resize(pixels, box, side)
