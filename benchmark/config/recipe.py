"""The parts of a run: data set, method, recipe, numerics. Every field changes numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from benchmark.config.validation import Strict

PROTOCOL = 1
"""Version of the train loop, the stream and the evaluation: bump when their numbers change."""
Crop = Literal["padded", "resized"]
Fill = Literal["zeros", "reflect"]
Decoder = Literal["pillow", "dali"]
Numerics = Literal["strict", "fast"]
"""The numerics profiles; what they mean is in ``numerics.py``."""
LATER = {"validation": None, "size": None, "crop": "padded", "fill": "zeros", "decoder": None}
"""Fields of DatasetConfig that came later, with the values that say nothing new."""
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


def filed(name: str) -> str:
    """Return a name as it can stand in a folder's: `torchvision-resnet18`."""
    return re.sub(r"[^\w.+-]", "-", name)


class Part(Strict):
    """What runs are made of; ten thousand of them have a few in common."""

    def as_json(self) -> dict[str, Any]:
        """Return the part as plain JSON data."""
        return self.model_dump(mode="json")

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The same, made once: to be read only."""
        return self.as_json()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy, without what the original has cached."""
        copy = super().model_copy(update=update, deep=deep)
        for cached in vars(copy).keys() - type(self).model_fields.keys():
            del vars(copy)[cached]
        return copy


class Whole(Part):
    """A run; for those that need it a part of theirs."""

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The run as plain JSON data, in which its parts' own stand: to be read only."""
        values = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: v.plain if isinstance(v, Part) else v for name, v in values}


class DatasetConfig(Part):
    """Which images, and how they are augmented."""

    name: str
    version: int
    limit: Positive | None
    """Only the first so many train and so many test images."""
    validation: Positive | None = None
    """So many train images are held out and stand in for the test images, which nobody sees."""
    size: Positive | None = None
    """Height and width that networks see, where it is not the data set's own."""
    crop: Crop = "padded"
    """padded: a window of the padded image; resized: a part of any size, brought to ``size``."""
    padding: Annotated[int, Field(ge=0)]
    fill: Fill = "zeros"
    """What a padded crop is padded with."""
    flip: bool
    decoder: Decoder | None = None
    """What decodes the images of a streamed set; decoders differ in the last bit."""

    @model_validator(mode="after")
    def _fits(self) -> DatasetConfig:
        if self.crop == "resized" and (self.padding or self.fill != "zeros"):
            raise ValueError("a resized crop has no padding: leave out padding and fill")
        if self.crop == "padded" and self.decoder is not None:
            raise ValueError("images that are streamed have sizes of their own: crop: resized")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what was not asked for and came later: older runs keep their ids."""
        data: dict[str, Any] = serialise(self)
        return {k: v for k, v in data.items() if k not in LATER or v != LATER[k]}


class MethodConfig(Part):
    """Which method, and all of its parameters, defaults included."""

    name: str
    """With the preset that the parameters start from, `ab@crd`; a composition is `at+kd`."""
    version: int | tuple[int, ...]
    """Of a composition: its own, then its parts'."""
    config: dict[str, Any]


class Recipe(Part):
    """How a student is optimised: SGD with step decays, the same for every method of a suite."""

    epochs: Positive
    batch_size: Positive
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    nesterov: bool = False
    lr_drops: tuple[Fraction, ...] = (0.625, 0.75, 0.875)
    """Shares of a phase after which the learning rate falls: 150, 180 and 210 of 240 epochs."""
    lr_factor: Fraction = 0.1
    init_epochs: Literal["inside", "extra"] = "extra"
    """Whether a method's initialising epochs come out of ``epochs`` or on top of them."""

    @model_validator(mode="after")
    def _drops_are_in_order(self) -> Recipe:
        if list(self.lr_drops) != sorted(self.lr_drops):
            raise ValueError("lr_drops must be in increasing order")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self
