"""Describe what `run` on a machine would do: jobs in waves, time, disk space."""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.config.runs import Run
from benchmark.estimate.estimates import gather_estimates, target_device
from benchmark.estimate.kinds import Device, DiskUse, RunKind, SecondsPerImage, images_seen, kind_of
from benchmark.launch.local import device_slots
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import JobArray, plan_arrays
from benchmark.launch.slurm_checks import max_array_size
from benchmark.launch.status import query_statuses
from benchmark.store.folder import Store

UNFINISHED = ("ready", "failed", "blocked", "lost")
CHECKPOINT_COPIES = 3
"""The newest checkpoint, the one before it, and the next one while it is written."""
JSON_BYTES_PER_EPOCH, JSON_BYTES_PER_RUN = 250, 4_000
"""Sizes of a run's JSON files, measured on the quickstart."""

Plan = Sequence[Sequence[JobArray]]
"""The job arrays of each wave."""


# ---------------------------------------------------------------- time


class Timeline(NamedTuple):
    """How long the jobs of a plan take, in seconds."""

    busy: float
    """The sum over all jobs."""
    wall: float
    """From the start of the first job to the end of the last."""


def cohort_seconds(
    cohort: Sequence[Run], times: Mapping[RunKind, SecondsPerImage], data: Path | None = None
) -> float:
    """Return how long a job takes; runs of unknown kinds count 0, shared work counts once."""
    known = [
        (images_seen(run, data), times[kind]) for run in cohort if (kind := kind_of(run)) in times
    ]
    own = sum(images * seconds.own for images, seconds in known)
    return own + max((images * seconds.shared for images, seconds in known), default=0)


def simulate_jobs(
    plan: Plan, workers: int | None, cost: Callable[[Sequence[Run]], float]
) -> Timeline:
    """Simulate the jobs: each starts once a worker is free and the runs that it needs are done.

    With ``workers`` None the plan is Slurm's: each array has workers of its own, and waits for the
    end of whole arrays instead of single runs.
    """
    busy = wall = 0.0
    free = [0.0] * (workers or 0)
    ends: dict[str, float] = {}
    for array in (array for wave in plan for array in wave):
        needs = {need.id for cohort in array.cohorts for run in cohort for need in run.needs}
        if workers is None:
            free = [max((ends.get(need, 0.0) for need in needs), default=0.0)] * array.parallel
        ended = []
        for cohort in array.cohorts:
            needed = (ends.get(need.id, 0.0) for run in cohort for need in run.needs)
            start = max([heapq.heappop(free), *needed])
            end = start + cost(cohort)
            heapq.heappush(free, end)
            busy, wall = busy + end - start, max(wall, end)
            ended += [(run.id, end) for run in cohort]
        last = max(end for _, end in ended)
        ends |= {run_id: last if workers is None else end for run_id, end in ended}
    return Timeline(busy, wall)


# ---------------------------------------------------------------- disk space


class DiskNeed(NamedTuple):
    """The disk space of all runs, in bytes."""

    peak: int
    """An upper bound while they run."""
    left: int
    """After all are done."""


def disk_need(plan: Plan, disk: Mapping[RunKind, DiskUse], workers: int) -> DiskNeed:
    """Add what all runs leave and the checkpoints of the largest jobs that can run at once."""

    def kept(run: Run) -> int:
        use = disk.get(kind_of(run))
        json = JSON_BYTES_PER_RUN + JSON_BYTES_PER_EPOCH * run.recipe.epochs
        return json + (use.left if use else 0)

    def checkpoints(cohort: Sequence[Run]) -> int:
        known = [disk[kind] for run in cohort if (kind := kind_of(run)) in disk]
        return CHECKPOINT_COPIES * sum(use.checkpoint for use in known)

    left = largest = 0
    for wave in plan:
        cohorts = [cohort for array in wave for cohort in array.cohorts]
        left += sum(kept(run) for cohort in cohorts for run in cohort)
        largest = max(largest, sum(heapq.nlargest(workers, map(checkpoints, cohorts))))
    return DiskNeed(left + largest, left)


# ---------------------------------------------------------------- as text


def forecast(
    chosen: Mapping[str, Run], machine: Machine, paths: Paths, timing: bool
) -> Iterator[str]:
    """Yield the lines that describe what `run` would do with the unfinished runs among ``chosen``.

    With ``timing``, steps of runs without records are timed here, for about a minute. Raises
    UserError if the machine file asks for a GPU that this machine does not have.
    """
    store = Store(paths.results)
    statuses = query_statuses(chosen, store)
    runs = [run for run_id, run in chosen.items() if statuses[run_id].status in UNFINISHED]
    if not runs:
        yield "nothing to do: all runs are done, running or queued"
        return
    device, on_cluster = target_device(machine), machine.launcher == "slurm"
    if machine.launcher == "local" and machine.device == "cuda" and not device.here:
        raise UserError("the machine file asks for cuda, but this machine has no usable GPU")
    devices = [f"cuda:{i}" for i in range(device.gpus)] or ["cpu"]
    workers = len(device_slots(machine, devices)) if machine.workers == "auto" else machine.workers
    limit = known_array_limit() if on_cluster else None
    plan = plan_arrays(runs, workers, machine.largest, (limit or len(runs)) if on_cluster else None)
    yield f"{device.kind}, up to {workers} jobs at once, up to {machine.largest} runs in a job"
    yield from wave_lines(plan, on_cluster)
    if on_cluster and limit is None:
        yield "  (Slurm's MaxArraySize is unknown here: `run` may split the arrays further)"
    known = gather_estimates(runs, store, paths, device, timing)
    timeline = simulate_jobs(
        plan,
        None if on_cluster else workers,
        lambda cohort: cohort_seconds(cohort, known.times, paths.data),
    )
    timeline = timeline._replace(busy=timeline.busy * machine.processes / machine.per_device)
    yield from time_lines(runs, known.times, device, timeline, timing)
    if on_cluster and timeline.busy:
        yield "  time in the queue is not included"
    if machine.processes > 1:
        yield "  assumes that the processes of a job share its work perfectly"
    if machine.per_device > 1:
        yield "  assumes that jobs on the same GPU do not slow each other down"
    yield from disk_lines(runs, known.disk, disk_need(plan, known.disk, workers), paths.results)


def wave_lines(plan: Plan, on_cluster: bool) -> Iterator[str]:
    """Yield a line for each wave: how many runs, jobs and, on a cluster, arrays it has."""
    for number, wave in enumerate(plan, 1):
        cohorts = [cohort for array in wave for cohort in array.cohorts]
        counts = [count_noun(sum(map(len, cohorts)), "run"), count_noun(len(cohorts), "job")]
        counts += [count_noun(len(wave), "array")] * on_cluster
        yield f"  wave {number}: {', '.join(counts)}"


def known_array_limit() -> int | None:
    """Return Slurm's limit of jobs in an array; None if it is unknown here."""
    try:
        return max_array_size()
    except UserError:
        return None


def time_lines(
    runs: Sequence[Run],
    times: Mapping[RunKind, SecondsPerImage],
    device: Device,
    timeline: Timeline,
    timing: bool,
) -> Iterator[str]:
    """Yield how long the runs take, and for how many runs the time comes from which source."""
    unknown = "no records"
    if not device.here:
        unknown += f", and this machine has no {device.kind} device to time them on"
    else:
        unknown += ", and not timed" if timing else " (--no-timing)"
    known = (times.get(kind_of(run)) for run in runs)
    origins = Counter(seconds.origin if seconds else "unknown" for seconds in known)
    if origins["unknown"] == len(runs):
        yield f"time: unknown: {unknown}"
        return
    unit = "GPU-hours" if device.kind == "cuda" else "CPU-core-hours"
    bound = "at least" if origins["unknown"] else "about"
    wall = round_duration(timeline.wall)
    hours = timeline.busy / 3600
    number = f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
    yield f"time: {bound} {number} {unit}, {bound} {wall} from start to end"
    sources = {
        "records": "from records of earlier runs",
        "timing": "from steps timed here on random images",
        "similar": "from other methods with the same student",
        "unknown": f"unknown and not counted: {unknown}",
    }
    for origin, source in sources.items():
        if origins[origin]:
            yield f"  {count_noun(origins[origin], 'run')} {source}"


def disk_lines(
    runs: Sequence[Run], disk: Mapping[RunKind, DiskUse], need: DiskNeed, results: Path
) -> Iterator[str]:
    """Yield how much disk space the runs need and whether it is free."""
    folder = results.resolve()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    yield (
        f"disk: up to {format_bytes(need.peak)} while it runs, {format_bytes(need.left)} when all "
        f"is done; {format_bytes(free)} free" + " (NOT ENOUGH)" * (free < need.peak)
    )
    known = sum(kind_of(run) in disk for run in runs)
    if known:
        yield f"  {count_noun(known, 'run')} from the sizes of networks and methods"
    if known < len(runs):
        yield f"  {count_noun(len(runs) - known, 'run')} of unknown size, not counted"


def count_noun(number: int, noun: str) -> str:
    """Format a count: `1 run`, `2 runs`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def round_duration(seconds: float) -> str:
    """Format a duration in one unit: `90 s`, `10 minutes`, `3.47 days`."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{max(1, round(seconds))} s"


def format_bytes(count: float) -> str:
    """Format a size in bytes: `3.2 GB`."""
    for unit, length in (("TB", 1e12), ("GB", 1e9)):
        if count >= length:
            return f"{count / length:.3g} {unit}"
    return f"{count / 1e6:.3g} MB"
