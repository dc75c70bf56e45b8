"""A suite's columns: teacher-student pairs, and probes of their networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.config.protocols import PROBE_PROTOCOLS, ProbeProtocol
from benchmark.config.recipe import DatasetConfig, Numerics, Recipe
from benchmark.config.runs import ImportedTeacher, ProbeRun, Run, TrainRun
from benchmark.data import Source, find_data_set
from benchmark.suite.dry_run import NetworkPair
from benchmark.suite.names import PAIR_PATTERN
from benchmark.suite.rows import default_method_config
from benchmark.suite.schema import ProbeSection, SuiteFile


@dataclass(frozen=True)
class ColumnProbe:
    """The probes of a column: linear classifiers on the embeddings of its networks."""

    label: str
    protocol: ProbeProtocol
    dataset: DatasetConfig
    recipe: Recipe
    numerics: Numerics

    def run_for(self, backbone: TrainRun | ImportedTeacher, seed: int) -> ProbeRun:
        """Return the run that probes one network."""
        return ProbeRun(
            dataset=self.dataset,
            protocol=self.protocol,
            backbone=backbone,
            recipe=self.recipe,
            seed=seed,
            numerics=self.numerics,
        )

    def caption(self) -> str:
        """Return a description of the column's numbers."""
        limit = f", limited to {self.dataset.limit} images" if self.dataset.limit else ""
        return (
            f"{self.label}: a linear classifier on the frozen embedding, data set "
            f"{self.dataset.name} at {self.dataset.size} px{limit}, protocol {self.protocol}, "
            f"{self.recipe.epochs} epoch{'s' * (self.recipe.epochs != 1)}"
        )


@dataclass(frozen=True)
class GridColumn:
    """One teacher-student pair on one data set."""

    source: Source
    student: str
    trained: TrainRun
    """The run that trains the pair's teacher network here."""
    teacher: TrainRun | ImportedTeacher
    """The teacher that is used: ``trained``, or an imported one."""
    probe: ColumnProbe | None = None
    """None: the column shows the accuracies of the networks themselves."""

    @property
    def networks(self) -> NetworkPair:
        """The two networks, for a dry run."""
        size = self.trained.dataset.size or self.source.size
        return NetworkPair(self.student, self.teacher.student, self.source.classes, size)

    @property
    def heading(self) -> str:
        """The column's heading: the probe's label, or the data set."""
        return self.probe.label if self.probe else self.source.name

    @property
    def teacher_run(self) -> Run | ImportedTeacher:
        """The run that gives the teacher's number in this column."""
        return self.probe.run_for(self.teacher, self.teacher.seed) if self.probe else self.teacher

    @property
    def untrained(self) -> TrainRun:
        """The teacher of controls: it has the initial weights of the trained teacher."""
        recipe = self.trained.recipe.model_copy(update={"epochs": 1})
        return self.trained.model_copy(
            update={"method": default_method_config("untrained"), "recipe": recipe}
        )


def make_columns(
    file: SuiteFile, dataset: DatasetConfig, teacher_recipe: Recipe, root: Path
) -> Iterator[GridColumn]:
    """Yield, for each pair, the column of its accuracies and one column for each probe."""
    source = find_data_set(dataset.name, root)
    size = dataset.size or source.size
    probes = [
        resolve_probe(
            label, section, find_data_set(section.dataset or label, root), size, file.numerics
        )
        for label, section in file.probes.items()
    ]
    for teacher, student in map(split_pair, file.pairs):
        run = TrainRun(
            dataset=dataset,
            student=teacher,
            method=default_method_config("scratch"),
            teacher=None,
            recipe=teacher_recipe.model_copy(update={"init_epochs": "inside"}),
            seed=file.teacher.seed,
            numerics=file.numerics,
        )
        weights = file.teacher.imported.get(teacher)
        imported = weights and ImportedTeacher(
            dataset=source.name, student=teacher, weights=weights
        )
        for probe in (None, *probes):
            yield GridColumn(source, student, run, imported or run, probe)


def resolve_probe(
    label: str, section: ProbeSection, source: Source, size: int, numerics: Numerics
) -> ColumnProbe:
    """Fill in the defaults of a probe: they come from the protocol and the data set.

    ``size`` is that of the students' images.
    """
    rules = PROBE_PROTOCOLS[section.protocol]
    dataset = DatasetConfig(
        name=source.name,
        version=source.version,
        limit=section.limit,
        size=section.size or size,
        crop="resized" if source.decoder else rules.crop,
        padding=0,
        flip=rules.flip,
        decoder=source.decoder,
    )
    recipe = rules.recipe.model_copy(update={"epochs": section.epochs or rules.recipe.epochs})
    return ColumnProbe(label, section.protocol, dataset, recipe, numerics)


def split_pair(text: str) -> tuple[str, str]:
    """Read 'teacher -> student'."""
    match = PAIR_PATTERN.fullmatch(text.strip())
    assert match is not None  # ``pair_problems`` has checked it
    return match.group(1), match.group(2)
