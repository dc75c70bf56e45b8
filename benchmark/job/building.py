"""Build the cohort of a job; a run that cannot be built fails alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmark.config.errors import UserError
from benchmark.config.runs import ImportedTeacher, ProbeRun, Run, TrainRun
from benchmark.data import find_data_set
from benchmark.data.preprocessing import describe_preprocessing
from benchmark.data.source import Source
from benchmark.data.stream import TestBatches
from benchmark.evaluation.accuracy import evaluate
from benchmark.job.claimed_run import JobContext
from benchmark.models.network import Network
from benchmark.processes.distributed import LostProcessError, Ranks
from benchmark.training import build
from benchmark.training import probes as probe
from benchmark.training.cohort import Cohort
from benchmark.training.learner import Learner

TEACHER_TOLERANCE = 0.2
"""Percent of test images, but at least two images: the teacher's accuracy may differ by this much
from its record, because another device or version computes slightly differently."""


class BuildFailures:
    """Why runs of a cohort could not be built, by run id."""

    def __init__(self) -> None:
        self.causes: dict[str, Exception] = {}

    @contextlib.contextmanager
    def alone(self, *run_ids: str) -> Iterator[None]:
        """Turn an exception into the failure of these runs, so that their cohort goes on."""
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, LostProcessError):
            raise  # not these runs' fault alone: the job can make the cohort smaller
        except Exception as error:  # noqa: BLE001  (a plug-in may raise anything)
            self.causes |= dict.fromkeys(run_ids, error)

    def agree(self, runs: Sequence[Run], ranks: Ranks) -> None:
        """Let a run that one process could not build fail in all processes of the job."""
        if ranks.size == 1:
            return
        failed = torch.tensor([float(run.id in self.causes) for run in runs])
        for run, count in zip(runs, ranks.sum_on_host(failed), strict=True):
            if count:
                elsewhere = RuntimeError("another process of the job could not build the run")
                self.causes.setdefault(run.id, elsewhere)


def build_cohort(runs: Sequence[Run], context: JobContext, failures: BuildFailures) -> Cohort:
    """Return the learners, images and teacher of runs; the teacher's accuracy is checked.

    Runs that cannot be built are entered in ``failures`` and have no learner. Raises UserError
    where the images are not those that the runs were planned with.
    """
    root, store, device = Path(context.job.data), context.store, context.device
    first, train_runs = runs[0], [run for run in runs if isinstance(run, TrainRun)]
    for run in runs:
        check_dataset_version(run, root)
    if not isinstance(first, TrainRun):
        if context.ranks.size > 1:
            raise UserError(f"{first.id}: a probe is trained by one process, not by several")
        probes = [run for run in runs if isinstance(run, ProbeRun)]
        return probe.build_probe_cohort(probes, store, root, device, failures.alone)
    source = find_data_set(first.dataset.name, root)
    stream, test = build.build_streams(first, source, source.load(root), device, context.ranks)
    teacher, taught = None, [run.id for run in train_runs if run.teacher]
    # Several processes evaluate the teacher together: if one fails, the others must not wait.
    with failures.alone(*taught) if context.ranks.size == 1 else contextlib.nullcontext():
        teacher = load_verified_teacher(train_runs, source, test, context)
    learners: list[Learner] = []
    for run in train_runs:
        with failures.alone(run.id):
            if run.id not in failures.causes:
                learners.append(build.build_learner(run, source, stream.labels, teacher, device))
    failures.agree(runs, context.ranks)
    learners = [learner for learner in learners if learner.name not in failures.causes]
    preprocessing = describe_preprocessing(source, root, first.dataset)
    return Cohort(learners, stream, test, teacher, preprocessing)


def load_verified_teacher(
    runs: Sequence[TrainRun], source: Source, test: TestBatches, context: JobContext
) -> Network | None:
    """Return the teacher of runs, whose accuracy is checked; None if no run has a teacher."""
    teacher = build.load_teacher(runs, context.store, source, context.device)
    if teacher is not None:
        taught = next(run for run in runs if run.teacher)
        verify_teacher(teacher, taught, test, context)
    return teacher


def check_dataset_version(run: Run, root: Path) -> None:
    """Raise UserError where a folder of images has changed since the run was planned."""
    name, version = run.dataset.name, run.dataset.version
    if find_data_set(name, root).version != version:
        raise UserError(
            f"the images of {name} have changed since this run was planned; start the suite again"
        )


def verify_teacher(teacher: Network, run: TrainRun, test: TestBatches, context: JobContext) -> None:
    """Raise UserError where the teacher's test top-1 is not the one in its record.

    The weights may be intact and still be loaded into a network that computes something else.
    """
    assert run.teacher is not None
    if isinstance(run.teacher, ImportedTeacher) and (run.dataset.limit or run.dataset.validation):
        return  # it was measured on all test images
    recorded = context.store.run(run.teacher.id).load_record().result.top1
    top1 = evaluate(teacher, test, context.ranks).top1
    if abs(top1 - recorded) > max(TEACHER_TOLERANCE, 100 * 2 / len(test.labels)):
        raise UserError(
            f"the teacher {run.teacher.id} has a test top-1 of {top1:.2f} here, and its "
            f"record says {recorded:.2f}: other code or other images than it was measured with"
        )
