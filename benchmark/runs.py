"""A run: everything that its numbers depend on, and the id that follows from it.

What changes numbers is in here; workers, device, folders, launcher and the run's company are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from benchmark.config import Strict, canonical, digest

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


class Imported(Part):
    """A teacher from elsewhere, named by its weights."""

    dataset: str
    """What it was measured on when it came."""
    student: str
    """The network; the word is TrainRun's, as a teacher may be either."""
    weights: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """sha256 over all weights and buffers, see ``models.fingerprint``."""

    @property
    def id(self) -> str:
        """Readable stem and the first digits of the weights' hash; a folder's name."""
        return f"{filed(self.dataset)}-{filed(self.student)}-imported-{self.weights[:10]}"

    @property
    def seed(self) -> int:
        """Of weights that are overwritten."""
        return 0


class TrainRun(Whole):
    """One network trained once. A teacher is such a run too, nested in its students' identity."""

    dataset: DatasetConfig
    student: str
    method: MethodConfig
    teacher: TrainRun | Imported | None
    recipe: Recipe
    seed: Annotated[int, Field(ge=0)]
    numerics: Numerics = "strict"
    """What decides bits. A suite gives it to teachers too."""
    protocol: int = PROTOCOL

    @cached_property
    def id(self) -> str:
        """Readable stem and ten digits of the canonical form's hash; a folder's name."""
        name = f"{filed(self.student)}-{self.method.name}"
        stem = f"{filed(self.dataset.name)}-{name}-s{self.seed}"
        return f"{stem}-{digest(self.plain)}"

    @property
    def needs(self) -> tuple[TrainRun | Imported, ...]:
        """What must be done before this run can start."""
        return () if self.teacher is None else (self.teacher,)

    @property
    def trains_first(self) -> tuple[TrainRun, ...]:
        """What has to be trained here before it: its teacher, unless that was brought in."""
        return tuple(need for need in self.needs if isinstance(need, TrainRun))

    @cached_property
    def stream_key(self) -> str:
        """Runs of equal key see the same batches."""
        images = [self.dataset.plain, self.recipe.batch_size, self.seed]
        return canonical([*images, self.numerics, self.protocol])

    @cached_property
    def cohort_key(self) -> str:
        """Runs of equal key see the same batches and the same teacher: they can share a cohort."""
        return canonical([self.stream_key, self.teacher and self.teacher.id])

    @classmethod
    def parse(cls, data: Any) -> TrainRun:  # noqa: ANN401
        """Read what ``as_json`` wrote; lists become tuples again."""
        return cls.model_validate(data, strict=False)
