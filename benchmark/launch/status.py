"""The status of every run, from its folder and from the Slurm queue."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Literal, NamedTuple

from benchmark.config.runs import Run, needed_ids
from benchmark.launch.slurm_queue import PENDING, ArrayTask, Queue, query_queue
from benchmark.launch.submissions import TasksByRun, tasks_by_run
from benchmark.store.claim import read_claim
from benchmark.store.folder import RunFolder, Store

SUMMARY_LINES = 36
"""The most lines about runs that are not done in `status`, unless all are asked for."""
QUEUE_INTERVAL = 5.0
"""Seconds between two queries of the queue: all users share its server."""

Status = Literal["done", "running", "ready", "failed", "blocked", "queued", "lost"]
"""ready: can start. failed: will be tried again. blocked: needs runs that are not done.
On a cluster also queued: its job is in the queue; lost: its job has left the queue."""

STATUS_WORDS: dict[Status, str] = {
    "done": "done",
    "running": "running now",
    "ready": "to do, ready to start",
    "failed": "failed, to be tried again",
    "blocked": "to do, waiting for other runs",
}


class RunStatus(NamedTuple):
    """The status of a run and an explanation of it, which may be empty."""

    status: Status
    detail: str


# ---------------------------------------------------------------- from run folders


def folder_statuses(runs: Mapping[str, Run], store: Store) -> dict[str, Status]:
    """Return the status of every run according to the run folders, without asking Slurm."""
    needed = needed_ids(runs.values())
    states = store.states([*runs, *(needed - runs.keys())])
    statuses: dict[str, Status] = {}
    for run_id, run in runs.items():
        state = states[run_id]
        if state in ("done", "running"):
            statuses[run_id] = state
        elif any(states[need.id] != "done" for need in run.needs):
            statuses[run_id] = "blocked"
        else:
            statuses[run_id] = "failed" if state == "failed" else "ready"
    return statuses


def unfinished_runs(runs: Iterable[str], store: Store) -> list[str]:
    """Return the ids of the runs that have no record yet."""
    return [run_id for run_id, state in store.states(runs).items() if state != "done"]


def fail_runs_of_dead_job(
    run_ids: Iterable[str], store: Store, message: str, states: Set[str] = frozenset({"waiting"})
) -> None:
    """Mark a job's runs as failed if the job died (kill -9, out of memory) and wrote no reason.

    Only runs in one of ``states`` are marked. By default that leaves out runs that are done, that
    have failed already, or that another live job has claimed.
    """
    for run_id in run_ids:
        folder = store.run(run_id)
        if folder.state() in states and not folder.failure.exists():
            folder.write_failure("died", message)


# ---------------------------------------------------------------- from the queue too


def query_statuses(runs: Mapping[str, Run], store: Store) -> dict[str, RunStatus]:
    """Return the status of every run; ask Slurm if any of them was submitted."""
    tasks = tasks_by_run(store.root, unfinished_runs(runs, store))
    queue = query_queue(task for run_tasks in tasks.values() for task in run_tasks)
    return statuses_with_queue(runs, store, tasks, queue)


def follow_runs(
    runs: Mapping[str, Run], store: Store, show: Callable[[Mapping[str, Status]], None]
) -> dict[str, RunStatus]:
    """Call ``show`` with all statuses about once a second until no run is queued or running."""
    tasks = tasks_by_run(store.root, unfinished_runs(runs, store))
    queue: Queue | None = None
    last_query = float("-inf")
    while True:
        if time.monotonic() - last_query > QUEUE_INTERVAL:
            queue = query_queue(task for run_tasks in tasks.values() for task in run_tasks)
            last_query = time.monotonic()
        statuses = statuses_with_queue(runs, store, tasks, queue)
        show({run_id: run.status for run_id, run in statuses.items()})
        if not {"queued", "running"} & {run.status for run in statuses.values()}:
            return statuses
        time.sleep(1)


def statuses_with_queue(
    runs: Mapping[str, Run], store: Store, tasks: TasksByRun, queue: Queue | None
) -> dict[str, RunStatus]:
    """Return the status of every run from its folder and its tasks in the queue.

    Query ``queue`` before the call. A job writes its records before it leaves the queue, so a
    folder that is read later cannot make a finished run look lost.
    """
    statuses = folder_statuses(runs, store)
    return {
        run_id: RunStatus(*merge_queue_state(statuses[run_id], tasks.get(run_id, ()), queue))
        for run_id in runs
    }


def merge_queue_state(
    status: Status, tasks: Sequence[ArrayTask], queue: Queue | None
) -> tuple[Status, str]:
    """Refine a run's status by the queue entries of its tasks; return it with an explanation."""
    if status in ("done", "running") or not tasks:
        return status, ""
    if queue is None:
        detail = "Slurm does not answer here, so the job may be queued or lost"
        return (status, "") if status == "failed" else ("queued", detail)
    entries = [queue[task.id] for task in tasks if task.id in queue]
    pending = [entry for entry in entries if entry.state in PENDING]
    if pending:
        return "queued", pending[0].reason
    if status == "failed":
        return status, ""  # its job may still be running, for its other runs
    if entries:
        return "queued", f"its job has started on {entries[0].nodes}"
    return ("lost", "its job is no longer in the queue") if status == "ready" else (status, "")


# ---------------------------------------------------------------- as text


def describe_progress(folder: RunFolder) -> str:
    """Describe a running run: its epoch, its host and roughly how long it still takes."""
    holder = read_claim(folder.path)
    if holder is None or not {"epoch", "epochs"} <= holder.progress.keys():
        return f"starting on {holder.host}" if holder else "starting"
    epoch, epochs = holder.progress["epoch"], holder.progress["epochs"]
    words = [f"epoch {epoch}/{epochs}", f"on {holder.host}"]
    try:
        last = folder.checkpoint.stat().st_mtime
        before = folder.previous_checkpoint.stat().st_mtime
    except FileNotFoundError:
        return ", ".join(words)
    # Two checkpoints are an epoch apart, unless the older one is from an earlier attempt.
    left = (last - max(before, holder.since)) * (epochs - epoch) - (time.time() - last)
    return ", ".join([*words, f"about {max(1, round(left / 60))} min left"])


def summary_lines(
    manifest: Mapping[str, Any], statuses: Mapping[str, RunStatus], lines: Sequence[str]
) -> list[str]:
    """Return the lines of runs that are not done, at most `SUMMARY_LINES`.

    Where there are more, runs of one status, method and pair share a line; the most urgent
    statuses come first, and what does not fit is counted.
    """
    if len(lines) <= SUMMARY_LINES:
        return list(lines)
    labels = {column["teacher_run"]: column["teacher"] for column in manifest["columns"]}
    labels = {run_id: f"teacher {name}" for run_id, name in labels.items()}
    for cell in manifest["cells"]:
        column = manifest["columns"][cell["column"]]
        labels[cell["run"]] = f"{cell['method']}, {column['teacher']} -> {column['student']}"
    counts = Counter(
        (status, labels.get(run_id, run_id))
        for run_id, (status, _) in statuses.items()
        if status not in ("done", "failed")
    )
    order: tuple[Status, ...] = ("lost", "running", "queued", "ready", "blocked")
    groups = sorted(counts.items(), key=lambda item: order.index(item[0][0]))
    said = [
        f"{status}: {label}: {n} run{'s' * (n != 1)}"
        for (status, label), n in groups[:SUMMARY_LINES]
    ]
    left = len(groups) - len(said)
    return [*said, *[f"... and {left} more such lines"] * bool(left), "every run: status --all"]


def plan_lines(
    manifest: Mapping[str, Any],
    statuses: Mapping[str, Status],
    applies: Callable[[dict[str, Any]], bool] = lambda cell: True,
) -> Iterator[str]:
    """Yield the lines of `plan`: the runs by status, then the cells that cannot be run, and why.

    ``applies``: whether a cell was asked for, see `Suite.selects`.
    """
    yield f"{manifest['suite']}: {manifest['title']}, {len(statuses)} runs"
    for status, words in STATUS_WORDS.items():
        if ids := [run_id for run_id, its_status in statuses.items() if its_status == status]:
            yield from ["", f"{len(ids)} {words}", *(f"  {run_id}" for run_id in ids)]
    reasons = {
        f"  {cell['method']}, {column['teacher']} -> {column['student']}: {cell['reason']}"
        for cell in manifest["cells"]
        if cell["reason"] and applies(cell)
        for column in [manifest["columns"][cell["column"]]]
    }
    if reasons:
        yield from ["", f"{len(reasons)} not applicable", *sorted(reasons)]
