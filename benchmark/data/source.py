"""What a data set is: fixed facts and a way to load it. One file a data set beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
        """Keep the first ``count`` of them (all, for None)."""
        return Images(self.pixels[:count], self.labels[:count])

    def pick(self, indices: npt.NDArray[np.int64]) -> Images:
        """Copy some of them."""
        chosen = torch.from_numpy(indices)
        return Images(self.pixels[chosen], self.labels[chosen])


class Streamed(Protocol):
    """Images that stay compressed on the disk, each of its own size; decoded in passing."""

    labels: Tensor
    """(N,) int64."""
    heights: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]

    def first(self, count: int | None) -> Streamed:
        """Keep the first ``count`` of them (all, for None)."""

    def pick(self, indices: npt.NDArray[np.int64]) -> Streamed:
        """Keep some of them."""

    def decoded_by(self, decoder: Decoder) -> Streamed:
        """Have them decoded by another decoder; ``UserError`` where it is not installed."""

    def crops(
        self, batches: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]], size: int
    ) -> Iterator[Tensor]:
        """Yield (B, 3, size, size) uint8 of (indices, boxes); a box: top, left, height, width."""

    def centres(self, batches: Iterable[npt.NDArray[np.int64]], size: int) -> Iterator[Tensor]:
        """Yield the centres of whole images, as they are tested."""


T = TypeVar("T", Images, Streamed)


class Split(NamedTuple, Generic[T]):
    """The train and the test images."""

    train: T
    test: T


Data = Split[Images] | Split[Streamed]


class Presence(NamedTuple):
    """What of a data set lies under a data root, at a glance: no file is read."""

    location: str
    """Where it lies or has to, seen from the data root."""
    missing: tuple[str, ...] = ()
    todo: str = ""
    """What is left to do before it can be trained on, and who does it; empty: nothing is."""


def nothing_to_verify(root: Path) -> None:
    """For sets whose ``load`` compares every checksum itself."""


@dataclass(frozen=True)
class Source:
    """A data set. The order of its images is part of what it is: draws are by index."""

    name: str
    version: int
    """Bump when pixels, labels, split or order change: its runs get new ids."""
    title: str
    classes: int
    size: int
    """Height and width in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of the train images' channels, on a scale of 0 to 1."""
    padding: int
    """Random crop: zeros added on each side (the field's default for this data set)."""
    flip: bool
    """Random horizontal flip (likewise)."""
    load: Callable[[Path], Data]
    """Read it from (or download it to) a data root; ``UserError`` where that cannot be done."""
    presence: Callable[[Path], Presence]
    """Say what of it there is, without downloading or decoding."""
    crop: Crop = "padded"
    """The field's default for this data set; see ``DatasetConfig``."""
    decoder: Decoder | None = None
    """Of a set that is too large for memory and is decoded in passing."""
    verify: Callable[[Path], None] = nothing_to_verify
    """Compare what ``load`` takes on trust with its checksums; ``UserError`` where one differs."""
