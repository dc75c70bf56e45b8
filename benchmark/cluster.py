"""What was submitted to a cluster, and how it stands: told from any login node, by files and queue.

Only a run's folder says that it is done or has failed. The queue is asked whether a job that may
do it is still there, and nothing else: a job that has ended may be run again by its cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import UserError, suggest
from benchmark.files import as_json, write_atomic
from benchmark.plan import Job, Status, statuses
from benchmark.slurm import PENDING, Queue, Task, array_of, ask, told
from benchmark.store import RunFolder, Store, claim, read_claim
from benchmark.transfer import Run

ASK_EVERY = 5.0
"""Seconds between looks at the queue while it is followed: its server is everybody's."""


@dataclass(frozen=True)
class Submission:
    """What one `run` has put into the queue; kept as a file, so that anyone can ask for it."""

    suite: str
    digest: str
    who: str
    when: str
    tasks: list[Task] = field(default_factory=list)
    cancelled: str | None = None
    schema: int = 1

    def write(self, path: Path) -> None:
        """Keep it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        data = asdict(replace(self, tasks=[]))
        write_atomic(path, as_json({**data, "tasks": [task._asdict() for task in self.tasks]}))

    @classmethod
    def read(cls, path: Path) -> Submission:
        """Read what ``write`` wrote."""
        data = json.loads(path.read_text())
        return cls(**{**data, "tasks": [Task(**task) for task in data["tasks"]]})


class Standing(NamedTuple):
    """How a run stands, and what there is to say about that."""

    status: Status
    detail: str


Tasks = Mapping[str, Sequence[Task]]
"""By run, the oldest first."""


def submissions(results: Path) -> dict[Path, Submission]:
    """Return all that was ever submitted for a results folder, the oldest first."""
    return {
        path: Submission.read(path) for path in sorted((results / "submissions").glob("*.json"))
    }


def tasks_of(results: Path, run_ids: Iterable[str]) -> dict[str, list[Task]]:
    """Return the tasks that were to do each run and were not cancelled by us."""
    found: dict[str, list[Task]] = {run_id: [] for run_id in run_ids}
    for submission in submissions(results).values():
        for task in submission.tasks if submission.cancelled is None else ():
            for run_id in found.keys() & task.runs:
                found[run_id].append(task)
    return {run_id: tasks for run_id, tasks in found.items() if tasks}


@contextlib.contextmanager
def my_turn(results: Path) -> Iterator[None]:
    """Let one process at a time submit or cancel: the next sees what it has done."""
    folder = results / "submissions" / "turn"
    spoken = False
    while (held := claim(folder)) is None:
        holder = read_claim(folder)
        if holder is not None and not spoken:
            print(f"waiting for process {holder.pid} on {holder.host}, which submits or cancels")
            spoken = True
        time.sleep(0.2)
    try:
        with held.keep_alive():
            yield
    finally:
        held.release()


# ---------------------------------------------------------------- how runs stand


def standings(
    runs: Mapping[str, Run], store: Store, tasks: Tasks, queue: Queue | None
) -> dict[str, Standing]:
    """Tell how every run stands. ``queue`` was asked before this: a job ends after its runs."""
    found = statuses(runs, store)
    return {
        run_id: Standing(*weigh(found[run_id], tasks.get(run_id, ()), queue)) for run_id in runs
    }


def weigh(status: Status, tasks: Sequence[Task], queue: Queue | None) -> tuple[Status, str]:
    """Add to what a run's folder says what the queue says of its tasks."""
    if status in ("done", "running") or not tasks:
        return status, ""
    if queue is None:
        word = "Slurm does not answer here: perhaps queued, perhaps lost"
        return (status, "") if status == "failed" else ("queued", word)
    live = [queue[task.id] for task in tasks if task.id in queue]
    if any(queued.state in PENDING for queued in live):
        [queued, *_] = [queued for queued in live if queued.state in PENDING]
        return "queued", queued.reason
    if status == "failed":
        return status, ""  # of its job, others may still be running
    if live:
        return "queued", f"its job has started on {live[0].nodes}"
    return ("lost", "no job of it is in the queue") if status == "ready" else (status, "")


def look(runs: Mapping[str, Run], store: Store) -> dict[str, Standing]:
    """Ask the queue, where anything was submitted, and tell how every run stands."""
    tasks = tasks_of(store.root, unfinished(runs, store))
    queue = ask(task for several in tasks.values() for task in several)
    return standings(runs, store, tasks, queue)


def unfinished(runs: Iterable[str], store: Store) -> list[str]:
    """Return the runs that have no record yet."""
    return [run_id for run_id, state in store.states(runs).items() if state != "done"]


def follow(
    runs: Mapping[str, Run], store: Store, show: Callable[[Mapping[str, Status]], None]
) -> dict[str, Standing]:
    """Show how the runs stand, about once a second, until none is queued or running."""
    tasks = tasks_of(store.root, unfinished(runs, store))
    queue: Queue | None = None
    asked = float("-inf")
    while True:
        if time.monotonic() - asked > ASK_EVERY:
            queue = ask(task for several in tasks.values() for task in several)
            asked = time.monotonic()
        found = standings(runs, store, tasks, queue)
        show({run_id: standing.status for run_id, standing in found.items()})
        if not {"queued", "running"} & {standing.status for standing in found.values()}:
            return found
        time.sleep(1)


def progress(folder: RunFolder) -> str:
    """Say how far a running run is, where, and how long it will about take."""
    holder = read_claim(folder.path)
    if holder is None or not holder.progress:
        return f"starting on {holder.host}" if holder else "starting"
    epoch, epochs = holder.progress["epoch"], holder.progress["epochs"]
    words = [f"epoch {epoch}/{epochs}", f"on {holder.host}"]
    try:
        last = folder.checkpoint.stat().st_mtime
        before = folder.previous_checkpoint.stat().st_mtime
    except FileNotFoundError:
        return ", ".join(words)
    # An epoch's time is that between two checkpoints, unless they lie in two attempts.
    left = (last - max(before, holder.since)) * (epochs - epoch) - (time.time() - last)
    return ", ".join([*words, f"about {max(1, round(left / 60))} min left"])


def logs_of(results: Path) -> dict[str, Path]:
    """Return the newest log there is of each run's jobs, a cluster's or this machine's."""
    logs = [(results / t.log, t.runs) for s in submissions(results).values() for t in s.tasks]
    files = (results / "jobs").glob("*.json")
    logs += [(path.with_suffix(".log"), Job.read(path).runs) for path in files]
    dated = sorted((path.stat().st_mtime, path, ids) for path, ids in logs if path.exists())
    return {run_id: path for _, path, ids in dated for run_id in ids}


def run_named(results: Path, word: str) -> str:
    """Return the run whose id this is, or begins so. Raises UserError where several or none do."""
    there = sorted(path.name for path in (results / "runs").glob("*/"))
    found = [run_id for run_id in there if run_id.startswith(word)]
    if word in found or len(found) == 1:
        return word if word in found else found[0]
    if not found:
        raise UserError(f"{word}: {suggest(word, there[:20], 'run', f'In {results} there are')}")
    raise UserError(f"{word}: {len(found)} runs begin so: {', '.join(found[:5])}, ...")


# ---------------------------------------------------------------- cancelling


class Cancelled(NamedTuple):
    """What was told to stop: arrays in the queue, and processes of this machine."""

    arrays: list[str]
    processes: list[int]


def cancel(results: Path, suite: str, run_ids: Iterable[str]) -> Cancelled:
    """Cancel a suite's jobs, queued or running, of whoever submitted them; then those here.

    Raises UserError where Slurm has to be asked and does not answer, or refuses.
    """
    arrays = []
    if (results / "submissions").exists():
        with my_turn(results):
            arrays = cancel_queued(results, suite)
    processes = sorted(jobs_here(results, run_ids))
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGTERM)
    return Cancelled(arrays, processes)


def cancel_queued(results: Path, suite: str) -> list[str]:
    """Cancel a suite's arrays and note it; return their numbers."""
    ours = {p: s for p, s in submissions(results).items() if s.suite == suite and not s.cancelled}
    tasks = [
        task
        for submission in ours.values()
        for task in submission.tasks
        if unfinished(task.runs, Store(results))
    ]
    queue = ask(tasks)
    if queue is None:
        raise UserError("Slurm does not answer here: cancel where squeue and scancel do")
    arrays = sorted({array_of(task) for task in tasks if task.id in queue}, key=int)
    if arrays and told("scancel", *arrays) is None:
        raise UserError(f"Slurm refused: scancel {' '.join(arrays)}")
    for path, submission in ours.items():
        replace(submission, cancelled=datetime.now(UTC).isoformat(timespec="seconds")).write(path)
    return arrays


def jobs_here(results: Path, run_ids: Iterable[str]) -> set[int]:
    """Return the processes of this machine that are at work on any of the runs."""
    holders = [read_claim(Store(results).run(run_id).path) for run_id in run_ids]
    here = [h for h in holders if h is not None and not h.elsewhere()]
    pids = {holder.pid for holder in here if holder.alive(time.time())}
    return {pid for pid in pids if b"benchmark.job" in command_of(pid)}


def command_of(pid: int) -> bytes:
    """Return a process's command line, empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
