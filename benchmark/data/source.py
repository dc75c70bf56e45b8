"""The interface of a data set: fixed facts, and functions that load and check it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.config.recipe import Crop, Decoder


class Images(NamedTuple):
    """Decoded images, resident in memory."""

    pixels: Tensor
    """(N, 3, size, size) uint8."""
    labels: Tensor
    """(N,) int64."""

    def first(self, count: int | None) -> Images:
        """Return the first ``count`` images; all of them for None."""
        return Images(self.pixels[:count], self.labels[:count])

    def pick(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return a copy of the images with these indices."""
        chosen = torch.from_numpy(indices)
        return Images(self.pixels[chosen], self.labels[chosen])


class Streamed(Protocol):
    """Images that stay compressed on disk and are decoded when they are used; sizes differ."""

    labels: Tensor
    """(N,) int64."""
    heights: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]

    def first(self, count: int | None) -> Streamed:
        """Return the first ``count`` images; all of them for None."""

    def pick(self, indices: npt.NDArray[np.int64]) -> Streamed:
        """Return the images with these indices."""

    def decoded_by(self, decoder: Decoder) -> Streamed:
        """Choose the decoder. Raises ``UserError`` if it is not installed."""

    def crops(
        self, batches: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]], size: int
    ) -> Iterator[Tensor]:
        """Yield (B, 3, size, size) uint8 of (indices, boxes); a box: top, left, height, width."""

    def centres(self, batches: Iterable[npt.NDArray[np.int64]], size: int) -> Iterator[Tensor]:
        """Yield centre crops, as used for testing."""


LARGEST_SIZE = 2048
"""The most pixels that an image may have in height and width."""
T = TypeVar("T", Images, Streamed)


class Split(NamedTuple, Generic[T]):
    """The train and the test images."""

    train: T
    test: T


Data = Split[Images] | Split[Streamed]


class Presence(NamedTuple):
    """Which files of a data set are under a data root. No file is read to find out."""

    location: str
    """Where the files are, or belong, relative to the data root."""
    missing: tuple[str, ...] = ()
    todo: str = ""
    """What has to be done before training, and by whom; empty if nothing."""


def nothing_to_verify(root: Path) -> None:
    """Do nothing: for data sets whose ``load`` compares all checksums."""


def no_names(root: Path) -> None:
    """Return None: for data sets whose class names are not known."""


@dataclass(frozen=True)
class Source:
    """A data set. The order of its images is fixed, because random choices are made by index."""

    name: str
    version: int
    """Raise it when pixels, labels, split or order change: the runs get new ids."""
    title: str
    classes: int
    size: int
    """Height and width in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of each channel of the train images, like ``mean``; pixels are from 0 to 1."""
    padding: int
    """Pixels of padding on each side before a random crop; the field's default for this set."""
    flip: bool
    """Whether to flip at random; the field's default for this set."""
    load: Callable[[Path], Data]
    """Load it from a data root, downloading it if needed. Raises ``UserError`` if that fails."""
    presence: Callable[[Path], Presence]
    """Return which files are there, without downloading or decoding."""
    crop: Crop = "padded"
    """The field's default for this data set; see ``DatasetConfig``."""
    decoder: Decoder | None = None
    """The decoder, for a set that is too large for memory and is decoded during training."""
    train_images: int | None = None
    """Number of train images, if it is known without reading them."""
    fitted: bool = False
    """Whether image files are scaled and cut to squares of ``size`` when they are decoded."""
    class_names: Callable[[Path], Sequence[str] | None] = no_names
    """Return the name of each class under a data root; None where they are not known."""
    ignored: tuple[str, ...] = ()
    """A line for each rule by which entries of an image folder are ignored."""
    verify: Callable[[Path], None] = nothing_to_verify
    """Compare checksums that ``load`` does not. Raises ``UserError`` if one differs."""
