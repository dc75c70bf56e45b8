"""What was submitted to a cluster, and how it stands: told from any login node, by files and queue.

Only a run's folder says that it is done or has failed. The queue is asked whether a job that may
do it is still there, and nothing else: a job that has ended may be run again by its cluster.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmark.launch.slurm_queue import Task
from benchmark.store.atomic import as_json, write_atomic
from benchmark.store.claim import claim, read_claim


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


# ---------------------------------------------------------------- cancelling
