"""A suite file: what is to be compared, as it is written."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from benchmark.config.errors import Problem
from benchmark.config.protocols import Protocol
from benchmark.config.recipe import Crop, DatasetConfig, Decoder, Fill, Numerics, Positive, Recipe
from benchmark.config.validation import Strict, check
from benchmark.data import Source

Seed = Annotated[int, Field(ge=0)]
Weights = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DatasetPart(Strict):
    """`dataset:` of a suite file; what is left out is the data set's own default."""

    name: str
    limit: Positive | None = None
    validation: Positive | None = None
    size: Positive | None = None
    crop: Crop | None = None
    padding: Annotated[int, Field(ge=0)] | None = None
    fill: Fill = "zeros"
    flip: bool | None = None
    decoder: Decoder | None = None

    def resolve(self, source: Source) -> tuple[DatasetConfig | None, list[Problem]]:
        """Fill in what the data set has by default."""
        crop = self.crop or ("resized" if source.crop == "resized" else "padded")
        padding = source.padding if crop == "padded" else 0
        given = {
            "name": source.name,
            "version": source.version,
            "limit": self.limit,
            "validation": self.validation,
            "size": None if self.size == source.size else self.size,
            "crop": crop,
            "padding": padding if self.padding is None else self.padding,
            "fill": self.fill,
            "flip": source.flip if self.flip is None else self.flip,
            "decoder": self.decoder or source.decoder,
        }
        return check(DatasetConfig, given, at=("dataset",))


class ProbePart(Strict):
    """One of the `probes:` of a suite file: a linear classifier on every student's embedding."""

    protocol: Protocol
    dataset: str | None = None
    """By default what the probe is called."""
    limit: Positive | None = None
    size: Positive | None = None
    """By default what the students see."""
    epochs: Positive | None = None
    """By default the protocol's."""


class TeacherPart(Strict):
    """`teacher:` of a suite file: where the teachers' training differs from the students'."""

    seed: Seed = 0
    recipe: dict[str, Any] = Field(default_factory=dict)
    imported: dict[str, Weights] = Field(default_factory=dict)
    """By network: the weights of teachers that `run_all.py teachers import` brought in."""


Names = dict[str, str] | tuple[str, ...]
"""Which, in this order; of a mapping, under these names."""


class TablePart(Strict):
    """`table:` of a suite file: what its tables show; all statistics stay those of the suite."""

    rows: Names | None = None
    pairs: Names | None = None
    datasets: Names | None = None


class SuiteFile(Strict):
    """A suite file as it is written."""

    title: str
    dataset: str | DatasetPart
    pairs: Annotated[tuple[str, ...], Field(min_length=1)]
    """`teacher -> student`, by network names."""
    methods: Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]
    """Rows by label, with the parameters that differ from the method's defaults; see ``entry``."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    recipe: Recipe
    probes: dict[str, ProbePart] = Field(default_factory=dict)
    """By a label that heads the column."""
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By student network: where its recipe differs, whatever teaches it."""
    teacher: TeacherPart = TeacherPart()
    numerics: Numerics = "strict"
    """Of all runs, the teachers' too."""
    table: TablePart = TablePart()

    @property
    def images(self) -> DatasetPart:
        """The data set, however it was written."""
        return DatasetPart(name=self.dataset) if isinstance(self.dataset, str) else self.dataset

    def recipe_of(self, student: str) -> tuple[Recipe | None, list[Problem]]:
        """Lay a network's own values over the common recipe."""
        merged = {**self.recipe.model_dump(mode="json"), **self.recipes.get(student, {})}
        return check(Recipe, merged, at=("recipes", student))
