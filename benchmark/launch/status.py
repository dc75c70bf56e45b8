"""The status of every run, from its folder and from the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Literal, NamedTuple

from benchmark.config.runs import Run, needs_of
from benchmark.launch.slurm_queue import PENDING, Queue, Task, ask
from benchmark.launch.submissions import Tasks, tasks_of
from benchmark.store.claim import read_claim
from benchmark.store.folder import RunFolder, Store


def blame_silent_runs(
    run_ids: Iterable[str], store: Store, message: str, silent: Set[str] = frozenset({"waiting"})
) -> None:
    """Mark the runs failed of a job that died without a word (kill -9, out of memory).

    A run with a record, a failure or somebody else's live claim is not silent.
    """
    for run_id in run_ids:
        folder = store.run(run_id)
        if folder.state() in silent and not folder.failure.exists():
            folder.write_failure("died", message)


ASK_EVERY = 5.0
"""Seconds between looks at the queue while it is followed: its server is everybody's."""


class Standing(NamedTuple):
    """How a run stands, and what there is to say about that."""

    status: Status
    detail: str


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


Status = Literal["done", "running", "ready", "failed", "blocked", "queued", "lost"]
"""failed: ready to be tried again; blocked: waits for what it needs. On a cluster, queued: a job
that may do it is in the queue; lost: it was there, and is no more.
"""


def statuses(runs: Mapping[str, Run], store: Store) -> dict[str, Status]:
    """Look up where every run stands."""
    needed = needs_of(runs.values())
    states = store.states([*runs, *(needed - runs.keys())])
    found: dict[str, Status] = {}
    for run_id, run in runs.items():
        state = states[run_id]
        if state in ("done", "running"):
            found[run_id] = state
        elif any(states[need.id] != "done" for need in run.needs):
            found[run_id] = "blocked"
        else:
            found[run_id] = "failed" if state == "failed" else "ready"
    return found


STATUS_WORDS: dict[Status, str] = {
    "done": "done",
    "running": "running now",
    "ready": "to do, ready to start",
    "failed": "failed, to be tried again",
    "blocked": "to do, once what they need is done",
}


def outline(manifest: Mapping[str, Any], found: Mapping[str, Status]) -> Iterator[str]:
    """Yield, line by line, what is done, what is to do and what cannot be."""
    yield f"{manifest['suite']}: {manifest['title']}, {len(found)} runs"
    for status, words in STATUS_WORDS.items():
        if ids := [run_id for run_id, its in found.items() if its == status]:
            yield from ["", f"{len(ids)} {words}", *(f"  {run_id}" for run_id in ids)]
    reasons = {
        f"  {cell['method']}, {column['teacher']} -> {column['student']}: {cell['reason']}"
        for cell in manifest["cells"]
        if cell["reason"]
        for column in [manifest["columns"][cell["column"]]]
    }
    if reasons:
        yield from ["", f"{len(reasons)} not applicable", *sorted(reasons)]
