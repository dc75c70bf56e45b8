"""What `run` on a machine would come to: jobs and waves, hours, room on the disk."""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.config.runs import Run
from benchmark.estimate.kinds import Device, Pace, Sort, Weight, amount, sort_of
from benchmark.estimate.paces import device_of, learn
from benchmark.launch.local import places
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import Array, arrays
from benchmark.launch.slurm_submit import largest_array
from benchmark.launch.status import look
from benchmark.store.folder import Store

OPEN = ("ready", "failed", "blocked", "lost")
COPIES = 3
"""Of a checkpoint: the newest, the one before, and the next while it is written."""
ROW, REST = 250, 4_000
"""Bytes in a run's JSON files of an epoch, and of all else; measured on the quickstart."""


# ---------------------------------------------------------------- when


class Course(NamedTuple):
    """How the jobs of a machine would follow each other."""

    busy: float
    """Seconds of all jobs together."""
    wall: float
    """Seconds from the first job's start to the last one's end."""


def seconds_of(cohort: Sequence[Run], paces: Mapping[Sort, Pace]) -> float:
    """Return how long a job takes, as far as is known: what its runs share counts once."""
    known = [(amount(run), paces[sort]) for run in cohort if (sort := sort_of(run)) in paces]
    return sum(n * pace.own for n, pace in known) + max((n * p.shared for n, p in known), default=0)


def course_of(
    plan: Sequence[Sequence[Array]], workers: int | None, cost: Callable[[Sequence[Run]], float]
) -> Course:
    """Let jobs follow each other: each when what it needs has ended and a worker is free.

    With ``workers`` None every array has workers of its own and waits for whole arrays, as Slurm's.
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
            start = max(
                [heapq.heappop(free), *(ends.get(n.id, 0.0) for r in cohort for n in r.needs)]
            )
            end = start + cost(cohort)
            heapq.heappush(free, end)
            busy, wall = busy + end - start, max(wall, end)
            ended += [(run.id, end) for run in cohort]
        last = max(end for _, end in ended)
        ends |= {run_id: last if workers is None else end for run_id, end in ended}
    return Course(busy, wall)


# ---------------------------------------------------------------- how much room


class Room(NamedTuple):
    """Bytes that the runs take."""

    peak: int
    """While they run, at the worst."""
    left: int
    """When all are done."""


def room_of(plan: Sequence[Sequence[Array]], weights: Mapping[Sort, Weight], workers: int) -> Room:
    """Add up what runs leave, and the checkpoints of the largest jobs that may run at once."""

    def kept(run: Run) -> int:
        weight = weights.get(sort_of(run))
        return REST + ROW * run.recipe.epochs + (weight.left if weight else 0)

    def held(cohort: Sequence[Run]) -> int:
        known = [weights[sort] for run in cohort if (sort := sort_of(run)) in weights]
        return COPIES * sum(weight.checkpoint for weight in known)

    left = most = 0
    for wave in plan:
        cohorts = [cohort for array in wave for cohort in array.cohorts]
        left += sum(kept(run) for cohort in cohorts for run in cohort)
        most = max(most, sum(heapq.nlargest(workers, map(held, cohorts))))
    return Room(left + most, left)


# ---------------------------------------------------------------- in words


def forecast(
    chosen: Mapping[str, Run], machine: Machine, paths: Paths, calibrating: bool
) -> Iterator[str]:
    """Yield, line by line, what `run` would do with those of the runs that are open."""
    store = Store(paths.results)
    found = look(chosen, store)
    runs = [run for run_id, run in chosen.items() if found[run_id].status in OPEN]
    if not runs:
        yield "nothing is left to do that is not running or queued"
        return
    device, on_cluster = device_of(machine), machine.launcher == "slurm"
    if machine.launcher == "local" and machine.device == "cuda" and not device.here:
        raise UserError("the machine file asks for cuda, but this machine has no usable GPU")
    devices = [f"cuda:{i}" for i in range(device.gpus)] or ["cpu"]
    workers = len(places(machine, devices)) if machine.workers == "auto" else machine.workers
    limit = array_limit() if on_cluster else None
    plan = arrays(runs, workers, machine.largest, (limit or len(runs)) if on_cluster else None)
    yield f"{device.kind}, up to {workers} jobs at once, up to {machine.largest} runs in a job"
    for number, wave in enumerate(plan, 1):
        cohorts = [cohort for array in wave for cohort in array.cohorts]
        said = [counted(sum(map(len, cohorts)), "run"), counted(len(cohorts), "job")]
        said += [counted(len(wave), "array")] * on_cluster
        yield f"  wave {number}: {', '.join(said)}"
    if on_cluster and limit is None:
        yield "  (scontrol does not tell MaxArraySize here: `run` may cut the arrays)"
    known = learn(runs, store, paths, device, calibrating)
    course = course_of(
        plan, None if on_cluster else workers, lambda cohort: seconds_of(cohort, known.paces)
    )
    course = course._replace(busy=course.busy * machine.processes / machine.per_device)
    yield from told_time(runs, known.paces, device, course, calibrating)
    if on_cluster and course.busy:
        yield "  waiting in the queue comes on top"
    if machine.processes > 1 or machine.per_device > 1:
        yield "  processes of a job are taken to share its time evenly, jobs on a GPU not to meet"
    yield from told_room(runs, known.weights, room_of(plan, known.weights, workers), paths.results)


def array_limit() -> int | None:
    """Return how many jobs the cluster takes in an array; None where it does not say."""
    try:
        return largest_array()
    except UserError:
        return None


def told_time(
    runs: Sequence[Run],
    paces: Mapping[Sort, Pace],
    device: Device,
    course: Course,
    calibrating: bool,
) -> Iterator[str]:
    """Say how long it takes, and how that is known."""
    unknown = "no record"
    if not device.here:
        unknown += " and no such device here"
    else:
        unknown += ", and not timed" if calibrating else " (--no-calibration)"
    found = (paces.get(sort_of(run)) for run in runs)
    origins = Counter(pace.origin if pace else "unknown" for pace in found)
    if origins["unknown"] == len(runs):
        yield f"time: unknown: {unknown}"
        return
    unit = "GPU-hours" if device.kind == "cuda" else "CPU-core-hours"
    least = "at least " if origins["unknown"] else "about "
    yield f"time: {least}{course.busy / 3600:.3g} {unit}, {least}{duration(course.wall)} in all"
    words = {
        "records": "from records",
        "calibration": "from steps timed here on noise",
        "likeness": "as others of the same student",
        "unknown": f"unknown and not counted: {unknown}",
    }
    for origin, said in words.items():
        if origins[origin]:
            yield f"  {counted(origins[origin], 'run')} {said}"


def told_room(
    runs: Sequence[Run], weights: Mapping[Sort, Weight], room: Room, results: Path
) -> Iterator[str]:
    """Say how much of the disk it takes, and whether that is there."""
    there = next(path for path in (results.resolve(), *results.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    yield (
        f"disk: up to {size(room.peak)} while it runs, {size(room.left)} when all is done; "
        f"{size(free)} free" + " (NOT ENOUGH)" * (free < room.peak)
    )
    weighed = sum(sort_of(run) in weights for run in runs)
    if weighed:
        yield f"  {counted(weighed, 'run')} from the networks' and methods' own sizes"
    if weighed < len(runs):
        yield f"  {counted(len(runs) - weighed, 'run')} of unknown size, not counted"


def counted(number: int, noun: str) -> str:
    """Write 1 run, 2 runs."""
    return f"{number} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """Write seconds as one reads them."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{max(1, round(seconds))} s"


def size(count: float) -> str:
    """Write bytes as one reads them."""
    for unit, length in (("TB", 1e12), ("GB", 1e9)):
        if count >= length:
            return f"{count / length:.3g} {unit}"
    return f"{count / 1e6:.3g} MB"
