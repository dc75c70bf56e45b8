"""A suite's columns: teacher-student pairs, and what their networks are asked besides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.config.protocols import PROTOCOLS, Protocol
from benchmark.config.recipe import DatasetConfig, Numerics, Recipe
from benchmark.config.runs import Imported, ProbeRun, Run, TrainRun
from benchmark.data import Source, find
from benchmark.suite.dry_run import Scene
from benchmark.suite.names import ARROW
from benchmark.suite.rows import plain
from benchmark.suite.schema import ProbePart, SuiteFile


@dataclass(frozen=True)
class Probing:
    """What a column's networks are asked besides what they were trained for."""

    label: str
    protocol: Protocol
    dataset: DatasetConfig
    recipe: Recipe
    numerics: Numerics

    def of(self, backbone: TrainRun | Imported, seed: int) -> ProbeRun:
        """Make the run that asks one network."""
        return ProbeRun(
            dataset=self.dataset,
            protocol=self.protocol,
            backbone=backbone,
            recipe=self.recipe,
            seed=seed,
            numerics=self.numerics,
        )

    def told(self) -> str:
        """Say what the column's numbers are."""
        limit = f", limited to {self.dataset.limit} images" if self.dataset.limit else ""
        return (
            f"{self.label}: a linear classifier on the frozen embedding, data set "
            f"{self.dataset.name} at {self.dataset.size} px{limit}, protocol {self.protocol}, "
            f"{self.recipe.epochs} epoch{'s' * (self.recipe.epochs != 1)}"
        )


@dataclass(frozen=True)
class Column:
    """One teacher-student pair on one data set."""

    source: Source
    student: str
    trained: TrainRun
    """The teacher as it is trained here."""
    teacher: TrainRun | Imported
    """The one that teaches: trained here, or brought in."""
    probing: Probing | None = None
    """For a column of probes of the same networks."""

    @property
    def scene(self) -> Scene:
        """The pair, as a trial needs it."""
        size = self.trained.dataset.size or self.source.size
        return Scene(self.student, self.teacher.student, self.source.classes, size)

    @property
    def heading(self) -> str:
        """What the column is of."""
        return self.probing.label if self.probing else self.source.name

    @property
    def teacher_run(self) -> Run | Imported:
        """Where the column's number for the teacher comes from."""
        return self.probing.of(self.teacher, self.teacher.seed) if self.probing else self.teacher

    @property
    def untrained(self) -> TrainRun:
        """The controls' teacher: the weights that the teacher's training began with."""
        recipe = self.trained.recipe.model_copy(update={"epochs": 1})
        return self.trained.model_copy(update={"method": plain("untrained"), "recipe": recipe})


def make_columns(
    file: SuiteFile, dataset: DatasetConfig, teacher_recipe: Recipe, root: Path
) -> Iterator[Column]:
    """Make a column of every pair, with its teacher's run, and one for each of its probes."""
    source = find(dataset.name, root)
    size = dataset.size or source.size
    probings = [
        probing_of(label, part, find(part.dataset or label, root), size, file.numerics)
        for label, part in file.probes.items()
    ]
    for teacher, student in map(split_pair, file.pairs):
        run = TrainRun(
            dataset=dataset,
            student=teacher,
            method=plain("scratch"),
            teacher=None,
            recipe=teacher_recipe.model_copy(update={"init_epochs": "inside"}),
            seed=file.teacher.seed,
            numerics=file.numerics,
        )
        weights = file.teacher.imported.get(teacher)
        brought = weights and Imported(dataset=source.name, student=teacher, weights=weights)
        for probing in (None, *probings):
            yield Column(source, student, run, brought or run, probing)


def probing_of(
    label: str, part: ProbePart, source: Source, size: int, numerics: Numerics
) -> Probing:
    """Resolve one of the probes: what is left out is the protocol's, or the students'."""
    rules = PROTOCOLS[part.protocol]
    dataset = DatasetConfig(
        name=source.name,
        version=source.version,
        limit=part.limit,
        size=part.size or size,
        crop="resized" if source.decoder else rules.crop,
        padding=0,
        flip=rules.flip,
        decoder=source.decoder,
    )
    recipe = rules.recipe.model_copy(update={"epochs": part.epochs or rules.recipe.epochs})
    return Probing(label, part.protocol, dataset, recipe, numerics)


def split_pair(text: str) -> tuple[str, str]:
    """Read 'teacher -> student'."""
    match = ARROW.fullmatch(text.strip())
    assert match is not None  # checked before
    return match.group(1), match.group(2)
