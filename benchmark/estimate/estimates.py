"""Estimate the time and the disk use of each kind of run.

The time comes from records of that kind on the same kind of device. Without records, steps of one
run are timed here. Without that, the times of other methods with the same student are used. Without
those, the time is unknown.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmark.config.runs import Run, TrainRun
from benchmark.data.counts import about_image_counts
from benchmark.estimate.kinds import (
    Device,
    DiskUse,
    RunKind,
    Sample,
    SampleResult,
    SecondsPerImage,
    kind_of,
    times_from_records,
)
from benchmark.launch.machine import Machine, Paths
from benchmark.processes.child import run_in_child_process
from benchmark.store.environment import processor_name
from benchmark.store.folder import Store

TIMING_BUDGET = 60.0
"""Seconds of work after which no further sample is timed; the one in progress is finished."""


class Estimates(NamedTuple):
    """What is known about the runs, by kind. A kind that is missing is unknown."""

    times: Mapping[RunKind, SecondsPerImage]
    disk: Mapping[RunKind, DiskUse]


def target_device(machine: Machine) -> Device:
    """Return the device that a machine's jobs would use."""
    count = 0 if machine.device == "cpu" else run_in_child_process(count_gpus)
    on_cluster = machine.launcher == "slurm"
    if machine.device == "cuda" or (machine.device == "auto" and (count or on_cluster)):
        return Device("cuda", count > 0, count, processes=machine.processes)
    return Device("cpu", True, 0, None if on_cluster else processor_name(), machine.processes)


def count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def gather_estimates(
    runs: Sequence[Run], store: Store, paths: Paths, device: Device, timing: bool
) -> Estimates:
    """Estimate all kinds among the runs; with ``timing``, time steps of kinds without records."""
    times = times_from_records(runs, store, device, paths.data)
    samples = {
        kind: Sample(run, images, timing and device.here and kind not in times)
        for kind, run in {kind_of(run): run for run in reversed(runs)}.items()
        if isinstance(run, TrainRun) and (images := about_image_counts(run.dataset, paths.data))
    }
    order = interleave_pairs(samples)
    results = dict(
        zip(
            order,
            run_in_child_process(
                measure_in_child,
                [samples[kind] for kind in order],
                paths,
                device.kind,
                TIMING_BUDGET,
            ),
            strict=True,
        )
    )
    disk = {kind: result.disk for kind, result in results.items() if result.disk}
    # The processes of a job are assumed to share its work perfectly.
    times |= {
        kind: SecondsPerImage(
            seconds.own / device.processes, seconds.shared / device.processes, seconds.origin
        )
        for kind, result in results.items()
        if (seconds := result.seconds)
    }
    unknown = {kind_of(run) for run in runs} - times.keys()
    return Estimates(times | times_from_similar_runs(unknown, times), disk)


def measure_in_child(
    samples: Sequence[Sample], paths: Paths, device: str, seconds: float
) -> list[SampleResult]:
    """Measure the samples in this process, which loads torch."""
    from benchmark.estimate.timing import measure_samples

    return measure_samples(samples, paths.data, paths.plugins, device, seconds)


def interleave_pairs(kinds: Iterable[RunKind]) -> list[RunKind]:
    """Order kinds so that every pair has one timed before any pair has a second."""
    counts: Counter[tuple[str, ...]] = Counter()
    numbered = []
    for kind in kinds:
        pair = (kind.dataset, kind.student, kind.teacher or "")
        numbered.append((counts[pair], kind))
        counts[pair] += 1
    return [kind for _, kind in sorted(numbered, key=lambda item: item[0])]


def times_from_similar_runs(
    kinds: Iterable[RunKind], times: Mapping[RunKind, SecondsPerImage]
) -> dict[RunKind, SecondsPerImage]:
    """Return the median time of other methods with the same student, for kinds that have any.

    Methods with the same teacher are preferred. Probes get no time: they train a classifier only.
    """
    similar: dict[tuple[object, ...], list[SecondsPerImage]] = defaultdict(list)
    for kind, seconds in times.items():
        for teacher in {kind.teacher, None}:
            similar[kind.dataset, kind.student, teacher, kind.batch_size].append(seconds)
    result = {}
    for kind in kinds:
        for teacher in (kind.teacher, None):
            known = similar.get((kind.dataset, kind.student, teacher, kind.batch_size))
            if known and not kind.method.startswith("probe"):
                own = statistics.median(seconds.own for seconds in known)
                shared = statistics.median(seconds.shared for seconds in known)
                result[kind] = SecondsPerImage(own, shared, "similar")
                break
    return result
