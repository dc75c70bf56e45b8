"""A run: everything that its results depend on, and the id that is computed from it.

Workers, device, folders, launcher and the other runs of a cohort do not affect results, so they
are not part of a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from benchmark.config.protocols import ProbeProtocol
from benchmark.config.recipe import (
    TRAINING_VERSION,
    BaseRun,
    DatasetConfig,
    MethodConfig,
    Numerics,
    Recipe,
    RunPart,
    as_folder_name,
)
from benchmark.config.validation import canonical_json, short_digest


class ImportedTeacher(RunPart):
    """A teacher that was trained elsewhere and is identified by its weights."""

    dataset: str
    """The data set that it was evaluated on when it was imported."""
    student: str
    """The network. The field is named as in TrainRun, since a teacher may be either."""
    weights: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """sha256 over all weights and buffers; see ``models.fingerprint``."""

    @property
    def id(self) -> str:
        """The teacher's folder name: a readable stem and the first digits of the weights' hash."""
        stem = f"{as_folder_name(self.dataset)}-{as_folder_name(self.student)}"
        return f"{stem}-imported-{self.weights[:10]}"

    @property
    def seed(self) -> int:
        """The seed of the initial weights, which the imported ones overwrite."""
        return 0


class TrainRun(BaseRun):
    """One training of one network. A trained teacher is a TrainRun nested in its students' runs."""

    dataset: DatasetConfig
    student: str
    method: MethodConfig
    teacher: TrainRun | ImportedTeacher | None
    recipe: Recipe
    seed: Annotated[int, Field(ge=0)]
    numerics: Numerics = "strict"
    """The numerics profile. A suite uses the same one for its teachers."""
    protocol: int = TRAINING_VERSION

    @cached_property
    def id(self) -> str:
        """The run's folder name: a readable stem and ten digits of the canonical JSON's hash."""
        name = f"{as_folder_name(self.student)}-{self.method.name}"
        stem = f"{as_folder_name(self.dataset.name)}-{name}-s{self.seed}"
        return f"{stem}-{short_digest(self.plain)}"

    @property
    def needs(self) -> tuple[TrainRun | ImportedTeacher, ...]:
        """The runs that must be finished before this one can start."""
        return () if self.teacher is None else (self.teacher,)

    @property
    def trains_first(self) -> tuple[TrainRun, ...]:
        """The runs that must be trained first: the teacher, unless it was imported."""
        return tuple(need for need in self.needs if isinstance(need, TrainRun))

    @cached_property
    def stream_key(self) -> str:
        """Runs with equal keys are trained on the same batches."""
        images = [self.dataset.plain, self.recipe.batch_size, self.seed]
        return canonical_json([*images, self.numerics, self.protocol])

    @cached_property
    def cohort_key(self) -> str:
        """Runs with equal keys have the same batches and teacher, so they can share a cohort."""
        return canonical_json([self.stream_key, self.teacher and self.teacher.id])

    @classmethod
    def parse(cls, data: Any) -> TrainRun:  # noqa: ANN401
        """Parse what ``as_json`` returned; lists become tuples again."""
        return cls.model_validate(data, strict=False)


REFERENCE_FIELDS = ("teacher", "backbone")
"""Fields of a run in which a manifest stores the id of another run in place of the run."""


def needed_ids(runs: Iterable[Run]) -> set[str]:
    """Return the ids of the runs that must be finished before these can start."""
    return {need.id for run in runs for need in run.needs}


PROBE_VERSION = 1
"""Version of the probes. Raise it when their results change."""


class ProbeRun(BaseRun):
    """One training of a linear classifier on the embedding of one network."""

    dataset: DatasetConfig
    protocol: ProbeProtocol
    backbone: TrainRun | ImportedTeacher
    """The run whose network is probed; the network stays unchanged."""
    recipe: Recipe
    seed: Annotated[int, Field(ge=0)]
    numerics: Numerics = "strict"
    version: int = PROBE_VERSION

    @cached_property
    def id(self) -> str:
        """The run's folder name: a readable stem and ten digits of the canonical JSON's hash."""
        method = self.backbone.method.name if isinstance(self.backbone, TrainRun) else "imported"
        stem = f"{as_folder_name(self.dataset.name)}-{self.protocol}"
        network = f"{as_folder_name(self.student)}-{method}-s{self.seed}"
        return f"{stem}-{network}-{short_digest(self.plain)}"

    @property
    def student(self) -> str:
        """The name of the network that is probed."""
        return self.backbone.student

    @property
    def trained_on(self) -> str:
        """The name of the data set that the network was trained on."""
        dataset = self.backbone.dataset
        return dataset if isinstance(dataset, str) else dataset.name

    @property
    def needs(self) -> tuple[TrainRun | ImportedTeacher, ...]:
        """The runs that must be finished before this one can start."""
        return (self.backbone,)

    @property
    def trains_first(self) -> tuple[TrainRun, ...]:
        """The runs that must be trained first, teachers before students."""
        if isinstance(self.backbone, ImportedTeacher):
            return ()
        return (*self.backbone.trains_first, self.backbone)

    @cached_property
    def cohort_key(self) -> str:
        """Probes with equal keys see the same images. Under `strict`, a key has one network."""
        own = self.backbone.id if self.protocol == "strict" else None
        kind = [self.protocol, self.numerics, self.version]
        return canonical_json([self.dataset.plain, *kind, self.recipe.batch_size, self.seed, own])

    @property
    def stream_key(self) -> str:
        """Equals ``cohort_key``: probes with the same batches can share a cohort."""
        return self.cohort_key


Run = TrainRun | ProbeRun


def parse_run(data: Any) -> Run:  # noqa: ANN401
    """Parse what a run's ``as_json`` returned."""
    if isinstance(data, dict) and "backbone" in data:
        return ProbeRun.model_validate(data, strict=False)
    return TrainRun.parse(data)
