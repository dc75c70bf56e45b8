"""What runs cost, and what is known of it: by records, or by what stands for their sort."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from benchmark.config.recipe import DatasetConfig
from benchmark.config.runs import Run, TrainRun, parse
from benchmark.store.folder import Store

Origin = Literal["records", "calibration", "likeness"]
IMAGES = {
    "digits": (599, 1198),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "fashionmnist": (60_000, 10_000),
    "stl10": (5_000, 8_000),
    "tinyimagenet": (100_000, 10_000),
    "imagenet": (1_281_167, 50_000),
    "imagenet@imagenet100": (127_000, 5_000),
}
"""Train and test images, known without looking at them."""


class Pace(NamedTuple):
    """Seconds per image and epoch of the recipe."""

    own: float
    shared: float
    """What a cohort pays once: a batch and its pass through the teacher. Of records, in ``own``."""
    origin: Origin


class Weight(NamedTuple):
    """Bytes of weights on a disk."""

    left: int
    """What a finished run keeps."""
    checkpoint: int
    """One checkpoint: momentum and connectors too."""


class Device(NamedTuple):
    """What jobs compute on."""

    kind: Literal["cpu", "cuda"]
    here: bool
    """Whether this machine has one."""
    gpus: int = 0
    """GPUs of this machine that torch can use."""
    cpu: str | None = None
    """The processor, where jobs run on this machine: records of others do not count."""
    processes: int = 1
    """Of each job."""


class Subject(NamedTuple):
    """A run that stands for its sort."""

    run: TrainRun
    images: tuple[int, int]
    timed: bool
    """Whether to time it."""


class Finding(NamedTuple):
    """What was found out about a subject; None: could not be, or was not asked."""

    weight: Weight | None
    pace: Pace | None


class Sort(NamedTuple):
    """What runs of the same cost have in common, epochs and images apart."""

    dataset: str
    student: str
    teacher: str | None
    method: str
    batch_size: int
    numerics: str


def sort_of(run: Run) -> Sort:
    """Return a run's sort."""
    images = f"{run.dataset.name} {run.dataset.size} {run.dataset.crop}"
    how = run.recipe.batch_size, run.numerics
    if not isinstance(run, TrainRun):
        return Sort(images, run.student, None, f"probe {run.protocol}", *how)
    teacher = None if run.teacher is None else run.teacher.student
    return Sort(images, run.student, teacher, run.method.name, *how)


def images_of(dataset: DatasetConfig) -> tuple[int, int] | None:
    """Return how many images a run trains on and is tested on; None where the name does not say."""
    known = IMAGES.get(dataset.name)
    if known is None:
        return None if dataset.limit is None else (dataset.limit, dataset.limit)
    train, test = known
    if dataset.validation is not None:
        train, test = train - dataset.validation, dataset.validation
    limit = dataset.limit or train
    return min(limit, train), min(dataset.limit or test, test)


def amount(run: Run) -> int:
    """Return how often an image is seen, init epochs apart; of unknown sets, how often the set."""
    return run.recipe.epochs * (images_of(run.dataset) or (1, 1))[0]


# ---------------------------------------------------------------- what records say


def from_records(runs: Iterable[Run], store: Store, device: Device) -> dict[Sort, Pace]:
    """Return the median pace of each sort that has records of the same kind of device."""
    wanted = {run.id.rpartition("-s")[0] for run in runs}
    paces: dict[Sort, list[float]] = defaultdict(list)
    for path in (store.root / "runs").glob("*/record.json"):
        if path.parent.name.rpartition("-s")[0] not in wanted:
            continue
        record = store.run(path.parent.name).read_record()
        if made_on(record["environment"], device) and (seconds := record["cost"].get("seconds")):
            run = parse(record["config"])
            paces[sort_of(run)].append(seconds / amount(run))
    return {sort: Pace(statistics.median(each), 0.0, "records") for sort, each in paces.items()}


def made_on(environment: Mapping[str, Any], device: Device) -> bool:
    """Whether a record is of as many processes on such a device."""
    same_kind = environment["device"].partition(":")[0] == device.kind
    as_many = environment.get("processes", 1) == device.processes
    return same_kind and as_many and device.cpu in (None, environment["cpu"])
