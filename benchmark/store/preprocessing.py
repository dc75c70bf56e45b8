"""The schema of a record's field `preprocessing`: what happens to an image before a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GeometryStep:
    """One change of an image's size, on 8-bit pixels with antialiasing, as Pillow computes it."""

    name: Literal["fit", "resize", "shorter side", "centre crop"]
    """fit: scale and cut to a square, the centre is kept (``PIL.ImageOps.fit``); resize: scale to
    a square; shorter side: scale so that the shorter side has the size; centre crop: cut."""
    size: int
    """Pixels."""
    filter: Literal["bilinear", "bicubic"] | None
    """None where nothing is scaled."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The random changes of training images; the fields are those of `DatasetConfig`."""

    crop: str
    padding: int
    fill: str
    flip: bool


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a test image becomes the network's input: RGB, the steps, / 255, (x - mean) / std.

    `benchmark.data.preprocessing.evaluation_transform` returns it as a transform for torchvision.
    """

    size: int
    """Height and width of the input, pixels."""
    input_size: int | None
    """Height and width that an image must have before the steps; None: any."""
    steps: tuple[GeometryStep, ...]
    mean: tuple[float, float, float]
    """Of each channel, with pixels from 0 to 1; so is ``std``."""
    std: tuple[float, float, float]
    training: Augmentation | None
    """None where training images were not augmented, and of an imported teacher."""
    classes: tuple[str, ...] | None
    """Name of each class, in the order of the logits; None where the data set's are unknown."""
