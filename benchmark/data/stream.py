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
from benchmark.store.preprocessing import Preprocessing


class TrainBatches(Protocol):
    """The interface of the training batches of a cohort."""

    @property
    def count(self) -> int:
        """Samples in an epoch."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    @property
    def device(self) -> torch.device:
        """The device of the batches."""

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (inputs, labels, indices) for every batch of an epoch (from 0)."""


class TestBatches(Protocol):
    """The interface of the test batches."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the device."""

    def batches(self, ranks: Ranks = SINGLE_PROCESS) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, labels). With N processes, each gets every N-th batch."""


class Stream:
    """The train images as epochs of augmented batches on a device."""

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
        """Batches in an epoch. The last one may be shorter; it is kept."""
        return -(-self.count // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (images, labels, indices) on the device, for every batch of an epoch (from 0).

        With several processes, each gets its slice of every batch.
        """
        order, *columns, mirrored = self.table(epoch)
        starts = range(0, self.count, self.batch_size)
        sizes = [min(self.batch_size, self.count - start) for start in starts]
        if self.ranks.size > 1:
            mine = [np.arange(size)[self.ranks.slice_of_batch(size)] for size in sizes]
            rows = np.concatenate([at + part for at, part in zip(starts, mine, strict=True)])
            order, mirrored = order[rows], mirrored[rows]
            columns, sizes = [column[rows] for column in columns], [len(part) for part in mine]
        crops = self.crops.batches(order, columns, mirrored if self.flip else None, sizes)
        indices = torch.split(torch.from_numpy(order).to(self.device), sizes)
        for pixels, part in zip(crops, indices, strict=True):
            yield self.normalise(pixels), self.labels[part], part

    @property
    def resident(self) -> bool:
        """Whether the images are on the device, so that a batch needs nothing from the host."""
        return isinstance(self.crops, InMemoryCrops) and self.ranks.size == 1

    def batch(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the batch of these (columns, B) of an epoch's table, without the host."""
        assert isinstance(self.crops, InMemoryCrops)
        indices, *columns, mirrored = table
        pixels = self.crops.crop_batch(indices, columns, mirrored if self.flip else None)
        return self.normalise(pixels), self.labels[indices], indices

    def table(self, epoch: int) -> list[Integers]:
        """Return the random choices of an epoch as columns: image index, crop, whether mirrored."""
        order = np.argsort(random_words(self.seed, epoch, "order", self.count), kind="stable")
        mirrored = below(random_words(self.seed, epoch, "flip", self.count), 2)
        return [order, *(c[order] for c in (*self.crops.draw(self.seed, epoch), mirrored))]


def copy_to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy values from the host to a device. On a GPU the copy is asynchronous."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


class Normaliser:
    """Normalises pixels by the operations of torchvision's ToTensor and Normalize."""

    def __init__(self, source: Source | Preprocessing, device: torch.device) -> None:
        self.mean = torch.tensor(source.mean, device=device)
        self.std = torch.tensor(source.std, device=device)
        self.rows: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, pixels: Tensor) -> Tensor:
        """Convert (B, 3, H, W) uint8 to normalised float32 in channels-last layout."""
        count, channels, height, width = pixels.shape
        if width not in self.rows:
            self.rows[width] = self.mean.repeat(width), self.std.repeat(width)
        mean, std = self.rows[width]
        # By whole rows of pixels: broadcasting three numbers takes three times as long.
        rows = pixels.permute(0, 2, 3, 1).reshape(count, height, width * channels).float()
        rows = rows.div_(255).sub_(mean).div_(std)
        return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


class TestImages:
    """The test images, unaugmented, in large batches on a device.

    Images of another size than ``size`` are resized: whole if in memory, centre crops if on disk.
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
        for pixels, batch_labels in zip(self.pixels(ranks), labels, strict=True):
            yield self.normalise(pixels.to(self.device)), batch_labels

    def pixels(self, ranks: Ranks = SINGLE_PROCESS) -> Iterator[Tensor]:
        """Yield (B, 3, size, size) uint8."""
        if isinstance(self.images, Images):
            yield from torch.split(self.images.pixels, self.batch_size)[ranks.rank :: ranks.size]
        else:
            indices = np.arange(len(self.labels))
            starts = range(0, len(indices), self.batch_size)[ranks.rank :: ranks.size]
            batches = (indices[i : i + self.batch_size] for i in starts)
            yield from self.images.centres(batches, self.size)

    def fitted(self, pixels: Tensor) -> Tensor:
        """Return images in memory, resized to the input size of the networks."""
        _, _, height, width = pixels.shape
        if height == width == self.size:
            return pixels
        return torch.cat(
            [resize_whole(part, self.size) for part in torch.split(pixels, self.batch_size)]
        )


def resize_whole(pixels: Tensor, side: int) -> Tensor:
    """Resize whole images."""
    count, _, height, width = pixels.shape
    box = [torch.full((count,), n, device=pixels.device) for n in (0, 0, height, width)]
    return resize(pixels, box, side)
