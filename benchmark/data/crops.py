"""What of an image a batch shows: the field's two random crops, on images in memory or on disk."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from benchmark.config.recipe import DatasetConfig, Fill
from benchmark.data.draws import Integers, below, fraction, random_words
from benchmark.data.source import Images, Streamed

Columns = Sequence[Integers]
AREA_RANGE = 0.08, 1.0
"""Share of the image's area that a resized crop has."""
ASPECT_RANGE = 3 / 4, 4 / 3
"""Its width by its height."""
ATTEMPTS = 10
WEIGHT_SCALE = 2.0**22
MIRRORED_COPY_LIMIT = 2**30
"""Bytes that images may take to lie there both ways round: CIFAR's do with half of it."""


class Crops(Protocol):
    """A kind of random crop over a set of images."""

    def draw(self, seed: int, epoch: int) -> Columns:
        """Return an epoch's draws: columns with a number for every image."""

    def batches(
        self, order: Integers, columns: Columns, mirrored: Integers | None, sizes: list[int]
    ) -> Iterator[Tensor]:
        """Yield (B, 3, H, W) uint8 of these sizes; columns are in this order."""


def make_crops(
    images: Images | Streamed, config: DatasetConfig, side: int, device: torch.device
) -> Crops:
    """Return the random crops that a run's configuration asks for; ``side``: of what is shown."""
    if not isinstance(images, Images):
        return StreamedCrops(images, side, device)
    pixels = images.pixels.to(device)
    if config.crop == "resized":
        return ResizedCrops(pixels, side)
    return PaddedCrops(pixels, config.padding, config.fill, config.flip)


# ---------------------------------------------------------------- images in memory


class InMemoryCrops(ABC):
    """Crops of images that lie on a device, which can cut a batch without asking the host."""

    device: torch.device

    @abstractmethod
    def crop_batch(
        self, indices: Tensor, columns: Sequence[Tensor], mirrored: Tensor | None
    ) -> Tensor:
        """Return (B, 3, H, W) uint8 of a batch's images and draws, (B,) each, on the device."""

    def batches(
        self, order: Integers, columns: Columns, mirrored: Integers | None, sizes: list[int]
    ) -> Iterator[Tensor]:
        """Cut one batch after the other."""
        made = [order, *columns, *([] if mirrored is None else [mirrored])]
        table = (torch.from_numpy(column).to(self.device) for column in made)
        for indices, *drawn in zip(*(torch.split(c, sizes) for c in table), strict=True):
            ways = drawn.pop() if mirrored is not None else None
            yield self.crop_batch(indices, drawn, ways)


def mirror_marked(pixels: Tensor, mirrored: Tensor | None) -> Tensor:
    """Mirror those of (B, 3, H, W) whose place in (B,) is 1."""
    if mirrored is None:
        return pixels
    return torch.where(mirrored[:, None, None, None].bool(), pixels.flip(-1), pixels)


# ---------------------------------------------------------------- a window of the padded image


class PaddedCrops(InMemoryCrops):
    """Pad, then cut a window of the image's own size (He et al., CVPR 2016, section 4.2)."""

    def __init__(self, pixels: Tensor, padding: int, fill: Fill, flip: bool) -> None:
        self.count, channels, height, width = pixels.shape
        self.padding, self.device = padding, pixels.device
        # As pixels, before normalisation, where torchvision's RandomCrop does it; channels last, as
        # networks read them.
        padded = pad_images(pixels, padding, fill).permute(0, 2, 3, 1).contiguous()
        # Both ways round where there is room for that: else a batch is mirrored image by image.
        self.both = flip and 2 * padded.numel() <= MIRRORED_COPY_LIMIT
        stored = torch.stack([padded, padded.flip(2)], 1) if self.both else padded[:, None]
        by_image, by_way, by_row, by_column, by_channel = stored.stride()
        # windows[i, way, down, right] is the crop itself: a view, only what is asked for is copied.
        offsets = 2 * padding + 1
        self.windows = stored.as_strided(
            (self.count, stored.shape[1], offsets, offsets, height, width, channels),
            (by_image, by_way, by_row, by_column, by_row, by_column, by_channel),
        )

    def draw(self, seed: int, epoch: int) -> Columns:
        """How far down and how far right the window lies."""
        offsets = 2 * self.padding + 1
        return [
            below(random_words(seed, epoch, way, self.count), offsets) for way in ("down", "right")
        ]

    def crop_batch(
        self, indices: Tensor, columns: Sequence[Tensor], mirrored: Tensor | None
    ) -> Tensor:
        """Cut the windows; of a mirrored image, the one that lies as far from its right edge."""
        down, right = columns
        if mirrored is None or not self.both:
            way = torch.zeros_like(indices)
            return mirror_marked(
                self.windows[indices, way, down, right].permute(0, 3, 1, 2), mirrored
            )
        right = torch.where(mirrored.bool(), 2 * self.padding - right, right)
        return self.windows[indices, mirrored, down, right].permute(0, 3, 1, 2)


def pad_images(pixels: Tensor, padding: int, fill: Fill) -> Tensor:
    """Pad (N, C, H, W) on all sides: with zeros, or mirrored, the edge not repeated."""
    if fill == "zeros" or padding == 0:
        return torch.nn.functional.pad(pixels, [padding] * 4)
    rows, columns = (
        reflection_indices(length, padding).to(pixels.device) for length in pixels.shape[2:]
    )
    return pixels[:, :, rows][:, :, :, columns]


def reflection_indices(length: int, padding: int) -> Tensor:
    """Return which row stands where after padding by reflection, the edge not repeated."""
    return (
        torch.arange(-padding, length + padding).abs().sub(length - 1).abs().neg().add(length - 1)
    )


# ---------------------------------------------------------------- a part of any size, resized


def draw_boxes(seed: int, epoch: int, heights: Integers, widths: Integers) -> Columns:
    """Draw top, left, height, width for every image, as torchvision's RandomResizedCrop does.

    (Szegedy et al., CVPR 2015, section 6): a share of the area and an aspect ratio, ten attempts,
    then the largest centred part of an allowed ratio.
    """
    count = len(heights)
    height, width = largest_allowed_size(heights, widths)
    top, left = (heights - height) // 2, (widths - width) // 2
    open_ = np.ones(count, dtype=bool)
    low, high = map(math.log, ASPECT_RANGE)
    for attempt in range(ATTEMPTS):
        area, shape = (
            fraction(random_words(seed, epoch, purpose, count, attempt))
            for purpose in ("area", "shape")
        )
        target = heights * widths * (AREA_RANGE[0] + (AREA_RANGE[1] - AREA_RANGE[0]) * area)
        ratio = np.exp(low + (high - low) * shape)
        wide = np.rint(np.sqrt(target * ratio)).astype(np.int64)
        tall = np.rint(np.sqrt(target / ratio)).astype(np.int64)
        fits = open_ & (wide > 0) & (wide <= widths) & (tall > 0) & (tall <= heights)
        height[fits], width[fits] = tall[fits], wide[fits]
        open_ &= ~fits
        if not open_.any():
            break
    drawn = ~open_
    for start, inside, whole, way in (
        (top, height, heights, "down"),
        (left, width, widths, "right"),
    ):
        start[drawn] = below(random_words(seed, epoch, way, count), whole - inside + 1)[drawn]
    return [top, left, height, width]


def largest_allowed_size(heights: Integers, widths: Integers) -> tuple[Integers, Integers]:
    """Return the size of the largest part of an allowed aspect ratio."""
    ratio = widths / heights
    height = np.where(
        ratio < ASPECT_RANGE[0], np.rint(widths / ASPECT_RANGE[0]).astype(np.int64), heights
    )
    width = np.where(
        ratio > ASPECT_RANGE[1], np.rint(heights * ASPECT_RANGE[1]).astype(np.int64), widths
    )
    return height, width


class ResizedCrops(InMemoryCrops):
    """A part of any size of each image, brought to one size; images in memory."""

    def __init__(self, pixels: Tensor, side: int) -> None:
        self.pixels, self.side, self.device = pixels, side, pixels.device

    def draw(self, seed: int, epoch: int) -> Columns:
        """Which part."""
        sizes = (np.full(len(self.pixels), n, np.int64) for n in self.pixels.shape[2:])
        return draw_boxes(seed, epoch, *sizes)

    def crop_batch(
        self, indices: Tensor, columns: Sequence[Tensor], mirrored: Tensor | None
    ) -> Tensor:
        """Cut and resize."""
        return mirror_marked(resize(self.pixels[indices], columns, self.side), mirrored)


class StreamedCrops:
    """The same of images on disk, cut and resized as they are decoded."""

    def __init__(self, images: Streamed, side: int, device: torch.device) -> None:
        self.images, self.side, self.device = images, side, device

    def draw(self, seed: int, epoch: int) -> Columns:
        """Which part."""
        return draw_boxes(seed, epoch, self.images.heights, self.images.widths)

    def batches(
        self, order: Integers, columns: Columns, mirrored: Integers | None, sizes: list[int]
    ) -> Iterator[Tensor]:
        """Decode, cut and resize; on the device, mirror."""
        ends = np.cumsum(sizes)[:-1]
        parts = zip(np.split(order, ends), np.split(np.stack(columns, axis=1), ends), strict=True)
        shown = (pixels.to(self.device) for pixels in self.images.crops(parts, self.side))
        if mirrored is None:
            yield from shown
            return
        ways = torch.split(torch.from_numpy(mirrored).to(self.device), sizes)
        for pixels, way in zip(shown, ways, strict=True):
            yield mirror_marked(pixels, way)


def resize(pixels: Tensor, box: Sequence[Tensor], side: int) -> Tensor:
    """Bring parts (top, left, height, width, each (B,)) of (B, C, H, W) uint8 to (side, side).

    Bilinear with antialiasing, to the bit as Pillow's passes are: a triangle as wide as a pixel of
    the result, laid over the part alone, first along rows, then along columns, rounded after each.
    (Since Pillow 13 tall parts are resized along columns first: one level at a few pixels.)
    """
    top, left, height, width = box
    down = resize_weights(top, height, side, pixels.shape[2])
    right = resize_weights(left, width, side, pixels.shape[3])
    across = round_to_pixels(pixels.double() @ right[:, None].mT)
    return round_to_pixels(down[:, None] @ across).to(torch.uint8)


def round_to_pixels(x: Tensor) -> Tensor:
    """Round to what a pixel can be."""
    return x.add_(0.5).floor_().clamp_(0, 255)


def resize_weights(start: Tensor, length: Tensor, side: int, full: int) -> Tensor:
    """Return (B, side, full): what every pixel counts in a pixel of the result.

    float64, in units of 2^-22 as Pillow's tables are: so that sums of them are exact, and a tie is
    one everywhere.
    """
    first, span = start.double()[:, None, None], length.double()[:, None, None]
    scale = span / side
    places = torch.arange(full, dtype=torch.float64, device=start.device)
    centres = torch.arange(side, dtype=torch.float64, device=start.device)[:, None] + 0.5
    distance = (places + 0.5 - first - centres * scale).abs()
    counts = (1 - distance / scale.clamp(min=1)).clamp(min=0)
    counts = counts * ((places >= first) & (places < first + span))
    shares = counts / counts.sum(dim=2, keepdim=True)
    return shares.mul_(WEIGHT_SCALE).add_(0.5).floor_().div_(WEIGHT_SCALE)
