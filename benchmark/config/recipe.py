"""The parts of a run: data set, method, recipe, numerics. Every field affects its results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from benchmark.config.validation import StrictModel

TRAINING_VERSION = 1
"""Version of the training loop, the stream and the evaluation. Raise it when results change."""
Crop = Literal["padded", "resized"]
Fill = Literal["zeros", "reflect"]
Decoder = Literal["pillow", "dali"]
Numerics = Literal["strict", "fast"]
"""The numerics profiles, which ``training/numerics.py`` defines."""
LATER_FIELDS = {
    "validation": None,
    "size": None,
    "crop": "padded",
    "fill": "zeros",
    "decoder": None,
}
"""Fields that DatasetConfig gained later, with the values that stand for the older behaviour."""
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


def as_folder_name(name: str) -> str:
    """Return a name with the characters replaced that a folder name should not have."""
    return re.sub(r"[^\w.+-]", "-", name)


class RunPart(StrictModel):
    """A part of a run. A suite of ten thousand runs shares a few parts, so their JSON is cached."""

    def as_json(self) -> dict[str, Any]:
        """Return a fresh copy of the part as JSON data."""
        return self.model_dump(mode="json")

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The part as JSON data, computed once and shared: do not modify it."""
        return self.as_json()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the part without its cached properties."""
        copy = super().model_copy(update=update, deep=deep)
        for cached in vars(copy).keys() - type(self).model_fields.keys():
            del vars(copy)[cached]
        return copy


class BaseRun(RunPart):
    """A run. It is itself a part of the runs that depend on it."""

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The run as JSON data that shares its parts' cached JSON: do not modify it."""
        values = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: v.plain if isinstance(v, RunPart) else v for name, v in values}


class DatasetConfig(RunPart):
    """The images of a run, and their augmentation."""

    name: str
    version: int
    limit: Positive | None
    """If set, only this many first images of the train part and of the test part are used."""
    validation: Positive | None = None
    """If set, so many train images are held out and replace the test images."""
    size: Positive | None = None
    """Height and width of the networks' input; None: the data set's own size."""
    crop: Crop = "padded"
    """padded: a window of the padded image; resized: a random region, scaled to ``size``."""
    padding: Annotated[int, Field(ge=0)]
    fill: Fill = "zeros"
    """Fill of the padding of a padded crop."""
    flip: bool
    decoder: Decoder | None = None
    """Decoder of streamed images; decoders differ in the last bit."""

    @model_validator(mode="after")
    def _fits(self) -> DatasetConfig:
        if self.crop == "resized" and (self.padding or self.fill != "zeros"):
            raise ValueError("a resized crop has no padding: leave out padding and fill")
        if self.crop == "padded" and self.decoder is not None:
            raise ValueError("images that are streamed have sizes of their own: crop: resized")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later fields that do not change anything, so that older runs keep their ids."""
        data: dict[str, Any] = serialise(self)
        return {k: v for k, v in data.items() if k not in LATER_FIELDS or v != LATER_FIELDS[k]}


class MethodConfig(RunPart):
    """A method and all of its parameters, including the defaults."""

    name: str
    """A preset is part of the name, as in `ab@crd`; a composition is called `at+kd`."""
    version: int | tuple[int, ...]
    """For a composition: its own version, then the versions of its parts."""
    config: dict[str, Any]


class Recipe(RunPart):
    """The optimisation of a student: SGD with step decay, the same for every method of a suite."""

    epochs: Annotated[int, Field(gt=0, le=1_000_000)]
    """Of a student; see `init_epochs`."""
    batch_size: Annotated[int, Field(gt=0, le=1_000_000)]
    """Images in a training step. The last batch of an epoch is smaller if they do not divide."""
    lr: Annotated[float, Field(gt=0, le=1e30)]
    """The learning rate at the start of a phase."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1e30)] = 5e-4
    """Of all parameters, those of batch norms and biases included."""
    nesterov: bool = False
    """Nesterov's momentum in place of the usual one."""
    lr_drops: tuple[Fraction, ...] = (0.625, 0.75, 0.875)
    """Fractions of a phase after which the learning rate drops: epochs 150, 180, 210 of 240."""
    lr_factor: Fraction = 0.1
    """What the learning rate is multiplied by at each drop."""
    init_epochs: Literal["inside", "extra"] = "extra"
    """Whether a method's initialisation epochs are part of ``epochs`` or added to them."""

    @model_validator(mode="after")
    def _drops_are_in_order(self) -> Recipe:
        if list(self.lr_drops) != sorted(self.lr_drops):
            raise ValueError("lr_drops must be in increasing order")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self
