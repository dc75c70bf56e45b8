"""Kinds of runs that cost the same, and their times according to the records of earlier runs."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.config.runs import Run, TrainRun, parse_run
from benchmark.data.counts import about_image_counts
from benchmark.store.fields import warn_once
from benchmark.store.folder import Store

Origin = Literal["records", "timing", "similar"]
"""Where a time comes from: records of earlier runs, steps timed here, or similar runs."""


class SecondsPerImage(NamedTuple):
    """Training time in seconds for each image in each epoch of the recipe."""

    own: float
    """The run's own part. From records: its whole time."""
    shared: float
    """The part that a cohort pays once: loading the batch and the teacher's pass."""
    origin: Origin


class DiskUse(NamedTuple):
    """The size of a run's weight files in bytes."""

    left: int
    """What a finished run keeps."""
    checkpoint: int
    """One checkpoint, with momentum and connectors."""


class Device(NamedTuple):
    """The device that a machine's jobs train on."""

    kind: Literal["cpu", "cuda"]
    here: bool
    """Whether this machine has such a device."""
    gpus: int = 0
    """How many GPUs torch can use on this machine."""
    cpu: str | None = None
    """The processor's name if jobs run on this machine: records from other processors are then
    ignored."""
    processes: int = 1
    """Processes per job."""


class Sample(NamedTuple):
    """One run that is measured for all runs of its kind."""

    run: TrainRun
    images: tuple[int, int]
    """Numbers of train and test images."""
    timed: bool
    """Whether to time its steps."""


class SampleResult(NamedTuple):
    """What was measured on a sample; None if it failed or was not requested."""

    disk: DiskUse | None
    seconds: SecondsPerImage | None


class RunKind(NamedTuple):
    """What runs have in common that cost the same per image and epoch."""

    dataset: str
    student: str
    teacher: str | None
    method: str
    batch_size: int
    numerics: str


def kind_of(run: Run) -> RunKind:
    images = f"{run.dataset.name} {run.dataset.size} {run.dataset.crop}"
    settings = run.recipe.batch_size, run.numerics
    if not isinstance(run, TrainRun):
        return RunKind(images, run.student, None, f"probe {run.protocol}", *settings)
    teacher = None if run.teacher is None else run.teacher.student
    return RunKind(images, run.student, teacher, run.method.name, *settings)


def images_seen(run: Run, data: Path | None = None) -> int:
    """Return epochs times train images, without initialising epochs; a set of unknown size is 1.

    ``data``: the data root, under which the images of a folder are counted.
    """
    return run.recipe.epochs * (about_image_counts(run.dataset, data) or (1, 1))[0]


# ---------------------------------------------------------------- times from records


def times_from_records(
    runs: Iterable[Run], store: Store, device: Device, data: Path | None = None
) -> dict[RunKind, SecondsPerImage]:
    """Return the median time of each kind that has records from the same hardware."""
    wanted = {run.id.rpartition("-s")[0] for run in runs}
    times: dict[RunKind, list[float]] = defaultdict(list)
    for path in (store.root / "runs").glob("*/record.json"):
        if path.parent.name.rpartition("-s")[0] not in wanted:
            continue
        folder = store.run(path.parent.name)
        try:
            folder.load_record()  # checks it
            record = folder.read_record()
            run = parse_run(record["config"])
            seconds = work_seconds(record, data)
        except ValueError as error:
            warn_once(f"warning: {error}")
            continue
        if seconds and same_hardware(record.get("environment", {}), device):
            times[kind_of(run)].append(seconds / images_seen(run, data))
    return {
        kind: SecondsPerImage(statistics.median(values), 0.0, "records")
        for kind, values in times.items()
    }


def work_seconds(record: Mapping[str, Any], data: Path | None = None) -> float | None:
    """Return the time that a run's epochs took, as far as possible without that of other load.

    In an older record from a CPU `seconds` is wall time, which a busy machine lengthens; its steps
    were timed by the processor time of the process, but its evaluations were not timed.
    """
    cost = record["cost"]
    seconds: float | None = cost.get("seconds")
    if seconds is None or cost.get("wall_seconds") is not None:
        return seconds
    run = parse_run(record["config"])
    counts = about_image_counts(run.dataset, data)
    step = cost.get("step_seconds")
    if step is None or counts is None or not record["environment"]["device"].startswith("cpu"):
        return seconds
    steps = math.ceil(counts[0] / run.recipe.batch_size) * len(record["history"])
    timed: float = steps * (step + (cost.get("teacher_seconds") or 0.0))
    return min(seconds, timed)


def same_hardware(environment: Mapping[str, Any], device: Device) -> bool:
    """Whether a record's environment has this kind of device and as many processes."""
    same_kind = (environment.get("device") or "").partition(":")[0] == device.kind
    same_processes = environment.get("processes", 1) == device.processes
    return same_kind and same_processes and device.cpu in (None, environment.get("cpu"))
