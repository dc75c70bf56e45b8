"""A run: everything that its numbers depend on, and the id that follows from it.

What changes numbers is in here; workers, device, folders, launcher and the run's company are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from benchmark.config.protocols import Protocol
from benchmark.config.recipe import (
    PROTOCOL,
    DatasetConfig,
    MethodConfig,
    Numerics,
    Part,
    Recipe,
    Whole,
    filed,
)
from benchmark.config.validation import canonical, digest


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


NEEDS = ("teacher", "backbone")
"""Fields of a run that may hold the id of another in its place."""


def needs_of(runs: Iterable[Run]) -> set[str]:
    """Return what the runs wait for."""
    return {need.id for run in runs for need in run.needs}


VERSION = 1
"""Of the probes: bump when their numbers change."""


class ProbeRun(Whole):
    """One linear classifier, trained once on one network's embedding."""

    dataset: DatasetConfig
    protocol: Protocol
    backbone: TrainRun | Imported
    """Whose embedding; never changed."""
    recipe: Recipe
    seed: Annotated[int, Field(ge=0)]
    numerics: Numerics = "strict"
    version: int = VERSION

    @cached_property
    def id(self) -> str:
        """Readable stem and ten digits of the canonical form's hash; a folder's name."""
        method = self.backbone.method.name if isinstance(self.backbone, TrainRun) else "imported"
        stem = f"{filed(self.dataset.name)}-{self.protocol}-{filed(self.student)}-{method}"
        return f"{stem}-s{self.seed}-{digest(self.plain)}"

    @property
    def student(self) -> str:
        """The network that is probed."""
        return self.backbone.student

    @property
    def trained_on(self) -> str:
        """The data set that the network was trained on."""
        dataset = self.backbone.dataset
        return dataset if isinstance(dataset, str) else dataset.name

    @property
    def needs(self) -> tuple[TrainRun | Imported, ...]:
        """What must be done before this run can start."""
        return (self.backbone,)

    @property
    def trains_first(self) -> tuple[TrainRun, ...]:
        """What has to be trained here before it, teachers first."""
        if isinstance(self.backbone, Imported):
            return ()
        return (*self.backbone.trains_first, self.backbone)

    @cached_property
    def cohort_key(self) -> str:
        """Probes of equal key see the same images; under `strict` each has its own embeddings."""
        own = self.backbone.id if self.protocol == "strict" else None
        kind = [self.protocol, self.numerics, self.version]
        return canonical([self.dataset.plain, *kind, self.recipe.batch_size, self.seed, own])

    @property
    def stream_key(self) -> str:
        """Whoever sees a probe's batches has its key too."""
        return self.cohort_key


Run = TrainRun | ProbeRun


def parse(data: Any) -> Run:  # noqa: ANN401
    """Read what a run's ``as_json`` wrote."""
    if isinstance(data, dict) and "backbone" in data:
        return ProbeRun.model_validate(data, strict=False)
    return TrainRun.parse(data)
