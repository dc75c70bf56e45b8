"""The schema of a suite file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from benchmark.config.errors import Problem
from benchmark.config.protocols import ProbeProtocol
from benchmark.config.recipe import Crop, DatasetConfig, Decoder, Fill, Numerics, Recipe
from benchmark.config.validation import StrictModel, validate
from benchmark.data import Source
from benchmark.data.source import LARGEST_SIZE

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(gt=0, le=10**9)]
"""A number of images."""
Side = Annotated[int, Field(gt=0, le=LARGEST_SIZE)]
"""Height and width in pixels."""
WeightsHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DatasetSection(StrictModel):
    """`dataset:` of a suite file. Fields that are left out have the data set's own defaults."""

    name: str
    """A data set (`run_all.py data`), or a folder of one's own images: `imagefolder/PATH@SIZE`."""
    limit: Count | None = None
    validation: Count | None = None
    size: Side | None = None
    crop: Crop | None = None
    padding: Annotated[int, Field(ge=0)] | None = None
    """Pixels added to each side before a padded crop."""
    fill: Fill = "zeros"
    flip: bool | None = None
    """Whether train images are flipped horizontally, with probability 1/2."""
    decoder: Decoder | None = None

    def resolve(self, source: Source) -> tuple[DatasetConfig | None, list[Problem]]:
        """Fill in the data set's defaults. Returns (config, []) or (None, problems)."""
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
        config, problems = validate(DatasetConfig, given, at=("dataset",))
        if config is not None:
            problems = list(size_problems(config, source))
        return (None, problems) if problems else (config, [])


def size_problems(config: DatasetConfig, source: Source) -> Iterator[Problem]:
    """Yield the numbers of `dataset:` that are too large for the data set."""
    if config.crop == "padded" and config.padding >= source.size:
        yield Problem(
            ("dataset", "padding"),
            f"less than the {source.size} pixels of the images of {source.name}, got "
            f"{config.padding}: a crop could be of padding alone",
        )
    if source.train_images is not None and (config.validation or 0) >= source.train_images:
        yield Problem(
            ("dataset", "validation"),
            f"less than the {source.train_images:,} train images of {source.name}, got "
            f"{config.validation}: none would be left to train with",
        )


class ProbeSection(StrictModel):
    """One of the `probes:` of a suite file: linear classifiers on all networks' embeddings."""

    protocol: ProbeProtocol
    """`hsakd`: as in HSAKD's code. `strict`: on embeddings that are computed once, with the weight
    decay chosen on held-out train images. See docs/protocol.md."""
    dataset: str | None = None
    """Default: the data set of the same name as the probe."""
    limit: Count | None = None
    size: Side | None = None
    """Default: the size of the students' images."""
    epochs: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    """Default: the protocol's."""


class TeacherSection(StrictModel):
    """`teacher:` of a suite file: how the teachers' training differs from the students'."""

    seed: Seed = 0
    recipe: dict[str, Any] = Field(default_factory=dict)
    """Fields of `recipe:` that differ for the teachers."""
    imported: dict[str, WeightsHash] = Field(default_factory=dict)
    """Weights' hashes of imported teachers (`run_all.py teachers import`), by network."""


TableSelection = dict[str, str] | tuple[str, ...]
"""Names to show, in this order. A mapping also gives the titles to show them under."""


class TableSection(StrictModel):
    """`table:` of a suite file: what its tables show. Statistics still cover the whole suite."""

    rows: TableSelection | None = None
    """Rows by label, in this order; as a mapping, with the names to print."""
    pairs: TableSelection | None = None
    """Pairs as in `pairs:`, likewise."""
    datasets: TableSelection | None = None
    """The data set and the probes' labels, likewise."""


class SuiteFile(StrictModel):
    """A suite file."""

    title: Annotated[str, Field(max_length=300)]
    """Heads the tables."""
    dataset: str | DatasetSection
    """A name alone, or with the fields below."""
    pairs: Annotated[tuple[str, ...], Field(min_length=1)]
    """Each is `teacher -> student`, by network names."""
    methods: Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]
    """Rows by label, with the parameters that differ from the defaults."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    """Of the students. Each decides initial weights, order and augmentation of the images."""
    recipe: Recipe
    """How every network is trained."""
    probes: dict[str, ProbeSection] = Field(default_factory=dict)
    """By the label that heads the column."""
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """For each student network: the fields in which its recipe differs, for all teachers."""
    teacher: TeacherSection = TeacherSection()
    """How the teachers' training differs."""
    numerics: Numerics = "strict"
    """The numerics profile of all runs, including the teachers'."""
    table: TableSection = TableSection()
    """What the tables show."""
    plugins: tuple[str, ...] = ()
    """Python files with methods of your own, relative to the suite file."""

    @property
    def images(self) -> DatasetSection:
        """The data set section, also if the file has only a name."""
        return DatasetSection(name=self.dataset) if isinstance(self.dataset, str) else self.dataset

    def recipe_of(self, student: str) -> tuple[Recipe | None, list[Problem]]:
        """Return a student network's recipe. Returns (recipe, []) or (None, problems)."""
        merged = {**self.recipe.model_dump(mode="json"), **self.recipes.get(student, {})}
        return validate(Recipe, merged, at=("recipes", student))
