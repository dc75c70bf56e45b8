"""Decode with Pillow in threads. Pixels are bit-equal to torchvision's own pipeline."""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from benchmark.data.files.colour_modes import to_rgb

Integers = npt.NDArray[np.int64]
Picture = Image.Image
Item = TypeVar("Item")
Result = TypeVar("Result")
PREFETCH = 3
"""Groups (batches of a stream) that are decoded ahead."""
IMAGES_PER_TASK = 4
"""Images that a thread decodes at a time."""

# Metadata is not used here, and some ImageNet files have damaged metadata.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


def decode_rgb(content: bytes) -> Picture:
    """Decode an image file to RGB. See ``colour_modes`` for other modes and the orientation."""
    return to_rgb(Image.open(io.BytesIO(content)))


def crops(
    image: Callable[[int], Picture], batches: Iterable[tuple[Integers, Integers]], size: int
) -> Iterator[Tensor]:
    """Yield (B, 3, size, size) uint8, channels last, of (indices, boxes); ``image`` decodes one.

    A box is top, left, height, width. It is cropped, then resized: bilinear, with antialiasing.
    """

    def decode_crop(index: int, box: Sequence[int]) -> Picture:
        top, left, height, width = box
        part = image(index).crop((left, top, left + width, top + height))
        return part.resize((size, size), Image.Resampling.BILINEAR)

    shots = (zip(i.tolist(), boxes.tolist(), strict=True) for i, boxes in batches)
    return assemble_batches(
        (([partial(decode_crop, *shot) for shot in batch]) for batch in shots), size
    )


def centres(
    image: Callable[[int], Picture], batches: Iterable[Integers], size: int
) -> Iterator[Tensor]:
    """Yield centre crops (B, 3, size, size) uint8, channels last, as used for testing."""

    def decode_centre(index: int) -> Picture:
        return cut_centre(image(index), size)

    return assemble_batches(
        ([partial(decode_centre, i) for i in batch.tolist()] for batch in batches), size
    )


def cut_centre(whole: Picture, size: int) -> Picture:
    """Return the test crop of an image."""
    crop = centre_crop(whole.height, whole.width, size)
    # Resizing the crop alone would save a fifth of the time, but change some pixels.
    small = whole.resize((crop.width, crop.height), Image.Resampling.BILINEAR)
    return small.crop((crop.left, crop.top, crop.left + size, crop.top + size))


class CentreCrop(NamedTuple):
    """A resized image and the upper left corner of its centre crop."""

    height: int
    width: int
    top: int
    left: int


def shorter_side(size: int) -> int:
    """Return the length that the shorter side of a test image is scaled to."""
    return size * 256 // 224


def centre_crop(height: int, width: int, size: int) -> CentreCrop:
    """Return the field's test crop, with torchvision's rounding.

    The short side is resized to 256 for a ``size`` of 224 (He et al., CVPR 2016, section 3.4).
    """
    short = shorter_side(size)
    tall, wide = (int(short * n / min(height, width)) for n in (height, width))
    return CentreCrop(tall, wide, round((tall - size) / 2), round((wide - size) / 2))


# ---------------------------------------------------------------- in threads


class BatchSlice(NamedTuple):
    """A few images of a batch."""

    batch: npt.NDArray[np.uint8]
    """(B, size, size, 3)."""
    start: int
    shots: Sequence[Callable[[], Picture]]


def assemble_batches(
    batches: Iterable[Sequence[Callable[[], Picture]]], size: int
) -> Iterator[Tensor]:
    """Yield decoded batches."""
    with closing(map_groups(fill_slice, (split_batch(shots, size) for shots in batches))) as groups:
        for group, _ in groups:
            yield torch.from_numpy(group[0].batch).permute(0, 3, 1, 2)


def split_batch(shots: Sequence[Callable[[], Picture]], size: int) -> list[BatchSlice]:
    """Cut a batch into tasks."""
    batch = np.empty((len(shots), size, size, 3), np.uint8)
    return [
        BatchSlice(batch, i, shots[i : i + IMAGES_PER_TASK])
        for i in range(0, len(shots), IMAGES_PER_TASK)
    ]


def fill_slice(task: BatchSlice) -> None:
    """Decode a task's images."""
    for i, shot in enumerate(task.shots, task.start):
        task.batch[i] = np.asarray(shot())


def map_groups(
    work: Callable[[Item], Result], groups: Iterable[Sequence[Item]]
) -> Generator[tuple[Sequence[Item], list[Result]]]:
    """Yield every group of items, in order, with the result of the work on each item.

    One thread for each core works on at most ``PREFETCH`` groups; Pillow, hashing and reading
    release the GIL. When the iterator is closed, or an error is raised, all threads end.
    """
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="images")
    waiting: deque[tuple[Sequence[Item], list[Future[Result]]]] = deque()

    def first() -> tuple[Sequence[Item], list[Result]]:
        group, futures = waiting.popleft()
        return group, [future.result() for future in futures]

    try:
        for group in groups:
            waiting.append((group, [pool.submit(work, item) for item in group]))
            if len(waiting) > PREFETCH:
                yield first()
        while waiting:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)
