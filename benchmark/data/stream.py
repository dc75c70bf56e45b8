"""The stream: augmented batches as a pure function of (seed, epoch, index).

What happens to image ``i`` in epoch ``e`` is computed from counters, not drawn from a generator
with a state. So it is the same in whatever batch, process or resumed run the image turns up, and
every method of a seed sees the same pixels in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.data.source import Images, Source

Words = npt.NDArray[np.uint64]
PURPOSES = {"order": 1, "down": 2, "right": 3, "flip": 4}
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(words: Words) -> Words:
    """Scramble 64-bit words: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def draw(seed: int, epoch: int, purpose: str, count: int) -> Words:
    """One random 64-bit word for each index below ``count``; integers only, so equal everywhere."""
    key = np.zeros(1, dtype=np.uint64)
    for part in (seed, epoch, PURPOSES[purpose]):
        key = mix(key + GOLDEN * np.array([part + 1], dtype=np.uint64))
    return mix(key + GOLDEN * np.arange(count, dtype=np.uint64))


def below(words: Words, bound: int) -> npt.NDArray[np.int64]:
    """Map words to integers in [0, bound), evenly to one part in 2^32."""
    return ((words >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


class Stream:
    """The train images on the device, and the epochs they make."""

    def __init__(
        self,
        images: Images,
        source: Source,
        *,
        seed: int,
        batch_size: int,
        padding: int,
        flip: bool,
        device: torch.device,
    ) -> None:
        self.seed, self.batch_size, self.padding, self.flip = seed, batch_size, padding, flip
        self.device = device
        self.count = len(images.labels)
        self.labels = images.labels.to(device)
        self.normalise = Normaliser(source, device)
        # Zeros go in as pixels, before normalisation, as torchvision's RandomCrop puts them.
        padded = torch.nn.functional.pad(images.pixels, [padding] * 4).to(device)
        n, channels, height, width = images.pixels.shape
        by_image, by_channel, by_row, by_column = padded.stride()
        # windows[i, down, right] is the crop itself: a view, no pixel is copied until it is asked
        # for.
        self.windows = padded.as_strided(
            (n, 2 * padding + 1, 2 * padding + 1, channels, height, width),
            (by_image, by_row, by_column, by_channel, by_row, by_column),
        )

    @property
    def steps(self) -> int:
        """Batches an epoch; the last one may be short and is kept."""
        return -(-self.count // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (images, labels, indices) on the device, for every batch of an epoch (from 0)."""
        table = [torch.from_numpy(column).to(self.device) for column in self.table(epoch)]
        for indices, down, right, flipped in zip(
            *(torch.split(column, self.batch_size) for column in table), strict=True
        ):
            crops = self.windows[indices, down, right]
            if self.flip:
                crops = torch.where(flipped[:, None, None, None], crops.flip(-1), crops)
            yield self.normalise(crops), self.labels[indices], indices

    def table(self, epoch: int) -> list[npt.NDArray[np.int64] | npt.NDArray[np.bool_]]:
        """Make the epoch's columns: index, the crop's offset down and right, whether mirrored."""
        order = np.argsort(draw(self.seed, epoch, "order", self.count), kind="stable")
        offsets = 2 * self.padding + 1
        down, right, flipped = (
            draw(self.seed, epoch, purpose, self.count)[order]
            for purpose in ("down", "right", "flip")
        )
        return [order, below(down, offsets), below(right, offsets), below(flipped, 2).astype(bool)]


class Normaliser:
    """Pixels to what networks read, by ToTensor's and Normalize's operations in order."""

    def __init__(self, source: Source, device: torch.device) -> None:
        self.mean = torch.tensor(source.mean, device=device)[:, None, None]
        self.std = torch.tensor(source.std, device=device)[:, None, None]

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to float32, channels last."""
        images = pixels.to(torch.float32, memory_format=torch.channels_last)
        return images.div_(255).sub_(self.mean).div_(self.std)


class TestImages:
    """The test images on the device, unaugmented, in large batches."""

    __test__ = False  # pytest: this is no test

    def __init__(
        self, images: Images, source: Source, device: torch.device, batch_size: int
    ) -> None:
        self.pixels, self.labels = images.pixels.to(device), images.labels.to(device)
        self.batch_size = batch_size
        self.normalise = Normaliser(source, device)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images, labels)."""
        pairs = (torch.split(tensor, self.batch_size) for tensor in (self.pixels, self.labels))
        for pixels, labels in zip(*pairs, strict=True):
            yield self.normalise(pixels), labels
