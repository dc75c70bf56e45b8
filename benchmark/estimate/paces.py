"""How fast runs would go on a machine, and what they weigh, before they are trained.

The pace of a run is that of records of its sort on the same kind of device, else that of steps
timed here, else what was found for its student; where there is none of that, it is unknown.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmark.config.runs import Run, TrainRun
from benchmark.estimate.kinds import (
    Device,
    Finding,
    Pace,
    Sort,
    Subject,
    Weight,
    from_records,
    images_of,
    sort_of,
)
from benchmark.launch.machine import Machine, Paths
from benchmark.processes.child import in_a_child
from benchmark.store.environment import processor
from benchmark.store.folder import Store

SECONDS = 60.0
"""How long a calibration may take; the run that it is at then is timed to its end."""


class Known(NamedTuple):
    """What is known of the runs that are to be done, by sort."""

    paces: Mapping[Sort, Pace]
    weights: Mapping[Sort, Weight]


# ---------------------------------------------------------------- what is known


def device_of(machine: Machine) -> Device:
    """Find out what a machine's jobs would compute on, and whether that can be tried here."""
    count = 0 if machine.device == "cpu" else in_a_child(count_gpus)
    on_cluster = machine.launcher == "slurm"
    if machine.device == "cuda" or (machine.device == "auto" and (count or on_cluster)):
        return Device("cuda", count > 0, count, processes=machine.processes)
    return Device("cpu", True, 0, None if on_cluster else processor(), machine.processes)


def count_gpus() -> int:
    """Count the GPUs that torch can use."""
    import torch

    return torch.cuda.device_count()


def learn(
    runs: Sequence[Run], store: Store, paths: Paths, device: Device, calibrating: bool
) -> Known:
    """Find out how fast runs go and what they weigh, one of each sort for all of it."""
    paces = from_records(runs, store, device)
    subjects = {
        sort: Subject(run, images, calibrating and device.here and sort not in paces)
        for sort, run in {sort_of(run): run for run in reversed(runs)}.items()
        if isinstance(run, TrainRun) and (images := images_of(run.dataset))
    }
    order = in_turns(subjects)
    found = in_a_child(examined, [subjects[sort] for sort in order], paths, device.kind, SECONDS)
    findings = dict(zip(order, found, strict=True))
    weights = {sort: finding.weight for sort, finding in findings.items() if finding.weight}
    paces |= {
        sort: Pace(pace.own / device.processes, pace.shared / device.processes, pace.origin)
        for sort, finding in findings.items()
        if (pace := finding.pace)
    }
    return Known(paces | by_likeness({sort_of(run) for run in runs} - paces.keys(), paces), weights)


def examined(
    subjects: Sequence[Subject], paths: Paths, device: str, seconds: float
) -> list[Finding]:
    """Do the calibration, in a process that may have torch."""
    from benchmark.estimate.timing import examine

    return examine(subjects, paths.data, paths.plugins, device, seconds)


def in_turns(sorts: Iterable[Sort]) -> list[Sort]:
    """Order sorts so that of every pair one comes before any pair's second."""
    turns: Counter[tuple[str, ...]] = Counter()
    numbered = []
    for sort in sorts:
        pair = (sort.dataset, sort.student, sort.teacher or "")
        numbered.append((turns[pair], sort))
        turns[pair] += 1
    return [sort for _, sort in sorted(numbered, key=lambda item: item[0])]


def by_likeness(sorts: Iterable[Sort], paces: Mapping[Sort, Pace]) -> dict[Sort, Pace]:
    """Give sorts the median pace of those with the same student, and teacher if there are such."""
    alike: dict[tuple[object, ...], list[Pace]] = defaultdict(list)
    for sort, pace in paces.items():
        for teacher in {sort.teacher, None}:
            alike[sort.dataset, sort.student, teacher, sort.batch_size].append(pace)
    found = {}
    for sort in sorts:
        for teacher in (sort.teacher, None):
            each = alike.get((sort.dataset, sort.student, teacher, sort.batch_size))
            if each and not sort.method.startswith("probe"):
                own = statistics.median(pace.own for pace in each)
                shared = statistics.median(pace.shared for pace in each)
                found[sort] = Pace(own, shared, "likeness")
                break
    return found
