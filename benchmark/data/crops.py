"""The field's two random crops, for images in memory or on disk."""

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
"""Range of the area of a resized crop, as a fraction of the image's area."""
ASPECT_RANGE = 3 / 4, 4 / 3
"""Range of its aspect ratio, width / height."""
ATTEMPTS = 10
WEIGHT_SCALE = 2.0**22
MIRRORED_COPY_LIMIT = 2**30
"""Most bytes for which mirrored copies of all images are kept; CIFAR needs half of it."""


class Crops(Protocol):
    """A kind of random crop over a set of images."""

    def draw(self, seed: int, epoch: int) -> Columns:
        """Return the random choices of an epoch: columns with one number for every image."""

    def batches(
        self, order: Integers, columns: Columns, mirrored: Integers | None, sizes: list[int]
    ) -> Iterator[Tensor]:
        """Yield (B, 3, H, W) uint8 for batches of these sizes; columns follow ``order``."""


def make_crops(
    images: Images | Streamed, config: DatasetConfig, side: int, device: torch.device
) -> Crops:
    """Return the random crops of a run's configuration; ``side``: pixels of a crop."""
    if not isinstance(images, Images):
        return StreamedCrops(images, side, device)
    pixels = images.pixels.to(device)
    if config.crop == "resized":
        return ResizedCrops(pixels, side)
    return PaddedCrops(pixels, config.padding, config.fill, config.flip)


# ---------------------------------------------------------------- images in memory


class InMemoryCrops(ABC):
    """Crops of images on a device. A batch is cropped without waiting for the host."""

    device: torch.device

    @abstractmethod
    def crop_batch(
        self, indices: Tensor, columns: Sequence[Tensor], mirrored: Tensor | None
    ) -> Tensor:
        """Return crops (B, 3, H, W) uint8, for indices and random choices (B,) each."""

    def batches(
        self, order: Integers, columns: Columns, mirrored: Integers | None, sizes: list[int]
    ) -> Iterator[Tensor]:
        """Crop one batch after the other."""
        all_columns = [order, *columns, *([] if mirrored is None else [mirrored])]
        table = (torch.from_numpy(column).to(self.device) for column in all_columns)
        for indices, *drawn in zip(*(torch.split(c, sizes) for c in table), strict=True):
            ways = drawn.pop() if mirrored is not None else None
            yield self.crop_batch(indices, drawn, ways)


def mirror_marked(pixels: Tensor, mirrored: Tensor | None) -> Tensor:
    """Mirror the images (B, 3, H, W) whose entry in (B,) is 1."""
    if mirrored is None:
        return pixels
    return torch.where(mirrored[:, None, None, None].bool(), pixels.flip(-1), pixels)


# ---------------------------------------------------------------- a window of the padded image


class PaddedCrops(InMemoryCrops):
    """Pads images and crops them to their own size (He et al., CVPR 2016, section 4.2)."""

    def __init__(self, pixels: Tensor, padding: int, fill: Fill, flip: bool) -> None:
        self.count, channels, height, width = pixels.shape
        self.padding, self.device = padding, pixels.device
        # Pad pixels before normalisation, as torchvision's RandomCrop does; channels last, as
        # networks read them.
        padded = pad_images(pixels, padding, fill).permute(0, 2, 3, 1).contiguous()
        # Keep mirrored copies if there is room; else a batch is mirrored image by image.
        self.both = flip and 2 * padded.numel() <= MIRRORED_COPY_LIMIT
        stored = torch.stack([padded, padded.flip(2)], 1) if self.both else padded[:, None]
        by_image, by_way, by_row, by_column, by_channel = stored.stride()
        # windows[i, mirrored, down, right] is the crop itself. It is a view: only crops are copied.
        offsets = 2 * padding + 1
        self.windows = stored.as_strided(
            (self.count, stored.shape[1], offsets, offsets, height, width, channels),
            (by_image, by_way, by_row, by_column, by_row, by_column, by_channel),
        )

    def draw(self, seed: int, epoch: int) -> Columns:
        """Draw how far down and how far right the window is."""
        offsets = 2 * self.padding + 1
        return [
            below(random_words(seed, epoch, way, self.count), offsets) for way in ("down", "right")
        ]

    def crop_batch(
        self, indices: Tensor, columns: Sequence[Tensor], mirrored: Tensor | None
    ) -> Tensor:
        """Crop the windows. In a mirrored image the offset counts from the right edge."""
        down, right = columns
        if mirrored is None or not self.both:
            way = torch.zeros_like(indices)
            return mirror_marked(
                self.windows[indices, way, down, right].permute(0, 3, 1, 2), mirrored
            )
        right = torch.where(mirrored.bool(), 2 * self.padding - right, right)
        return self.windows[indices, mirrored, down, right].permute(0, 3, 1, 2)


def pad_images(pixels: Tensor, padding: int, fill: Fill) -> Tensor:
    """Pad (N, C, H, W) on all sides: with zeros, or by reflection without repeating the edge."""
    if fill == "zeros" or padding == 0:
        return torch.nn.functional.pad(pixels, [padding] * 4)
    rows, columns = (
        reflection_indices(length, padding).to(pixels.device) for length in pixels.shape[2:]
    )
    return pixels[:, :, rows][:, :, :, columns]


def reflection_indices(length: int, padding: int) -> Tensor:
    """Return the row index at every position after reflection padding without the edge."""
    return (
        torch.arange(-padding, length + padding).abs().sub(length - 1).abs().neg().add(length - 1)
    )


# ---------------------------------------------------------------- a part of any size, resized


def draw_boxes(seed: int, epoch: int, heights: Integers, widths: Integers) -> Columns:
    """Draw top, left, height, width for every image, as torchvision's RandomResizedCrop does.

    (Szegedy et al., CVPR 2015, section 6). It draws a fraction of the area and an aspect ratio. If
    the box does not fit in ten attempts, it takes the largest centred box of an allowed ratio.
    """
    count = len(heights)
    height, width = largest_allowed_size(heights, widths)
    top, left = (heights - height) // 2, (widths - width) // 2
    pending = np.ones(count, dtype=bool)
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
        fits = pending & (wide > 0) & (wide <= widths) & (tall > 0) & (tall <= heights)
        height[fits], width[fits] = tall[fits], wide[fits]
        pending &= ~fits
        if not pending.any():
            break
    drawn = ~pending
    for start, inside, whole, way in (
        (top, height, heights, "down"),
        (left, width, widths, "right"),
    ):
        start[drawn] = below(random_words(seed, epoch, way, count), whole - inside + 1)[drawn]
    return [top, left, height, width]


def largest_allowed_size(heights: Integers, widths: Integers) -> tuple[Integers, Integers]:
    """Return the size of the largest box with an allowed aspect ratio."""
    ratio = widths / heights
    height = np.where(
        ratio < ASPECT_RANGE[0], np.rint(widths / ASPECT_RANGE[0]).astype(np.int64), heights
    )
    width = np.where(
        ratio > ASPECT_RANGE[1], np.rint(heights * ASPECT_RANGE[1]).astype(np.int64), widths
    )
    return height, width


class ResizedCrops(InMemoryCrops):
    """Random resized crops of images in memory."""

    def __init__(self, pixels: Tensor, side: int) -> None:
        self.pixels, self.side, self.device = pixels, side, pixels.device

    def draw(self, seed: int, epoch: int) -> Columns:
        """Draw the box of every image."""
        sizes = (np.full(len(self.pixels), n, np.int64) for n in self.pixels.shape[2:])
        return draw_boxes(seed, epoch, *sizes)

    def crop_batch(
        self, indices: Tensor, columns: Sequence[Tensor], mirrored: Tensor | None
    ) -> Tensor:
        """Crop and resize."""
        return mirror_marked(resize(self.pixels[indices], columns, self.side), mirrored)


class StreamedCrops:
    """Random resized crops of images on disk, cropped and resized while they are decoded."""

    def __init__(self, images: Streamed, side: int, device: torch.device) -> None:
        self.images, self.side, self.device = images, side, device

    def draw(self, seed: int, epoch: int) -> Columns:
        """Draw the box of every image."""
        return draw_boxes(seed, epoch, self.images.heights, self.images.widths)

    def batches(
        self, order: Integers, columns: Columns, mirrored: Integers | None, sizes: list[int]
    ) -> Iterator[Tensor]:
        """Decode, crop and resize on the host; mirror on the device."""
        ends = np.cumsum(sizes)[:-1]
        parts = zip(np.split(order, ends), np.split(np.stack(columns, axis=1), ends), strict=True)
        crops = (pixels.to(self.device) for pixels in self.images.crops(parts, self.side))
        if mirrored is None:
            yield from crops
            return
        ways = torch.split(torch.from_numpy(mirrored).to(self.device), sizes)
        for pixels, way in zip(crops, ways, strict=True):
            yield mirror_marked(pixels, way)


def resize(pixels: Tensor, box: Sequence[Tensor], side: int) -> Tensor:
    """Resize boxes (top, left, height, width, each (B,)) of (B, C, H, W) uint8 to (side, side).

    Bilinear with antialiasing, bit-equal to Pillow's two passes: a triangle filter as wide as a
    pixel of the result, applied to the box alone, first along rows, then along columns, with
    rounding after each. (Since Pillow 13, tall boxes are resized along columns first. That changes
    a few pixels by one level.)
    """
    top, left, height, width = box
    down = resize_weights(top, height, side, pixels.shape[2])
    right = resize_weights(left, width, side, pixels.shape[3])
    across = round_to_pixels(pixels.double() @ right[:, None].mT)
    return round_to_pixels(down[:, None] @ across).to(torch.uint8)


def round_to_pixels(x: Tensor) -> Tensor:
    """Round to pixel values, 0 to 255."""
    return x.add_(0.5).floor_().clamp_(0, 255)


def resize_weights(start: Tensor, length: Tensor, side: int, full: int) -> Tensor:
    """Return (B, side, full): the weight of every input pixel in every output pixel.

    The weights are float64 integers in units of 2^-22, like Pillow's tables. So their sums are
    exact, and ties are rounded alike everywhere.
    """
    first, span = start.double()[:, None, None], length.double()[:, None, None]
    scale = span / side
    positions = torch.arange(full, dtype=torch.float64, device=start.device)
    centres = torch.arange(side, dtype=torch.float64, device=start.device)[:, None] + 0.5
    distance = (positions + 0.5 - first - centres * scale).abs()
    counts = (1 - distance / scale.clamp(min=1)).clamp(min=0)
    counts = counts * ((positions >= first) & (positions < first + span))
    shares = counts / counts.sum(dim=2, keepdim=True)
    return shares.mul_(WEIGHT_SCALE).add_(0.5).floor_().div_(WEIGHT_SCALE)
