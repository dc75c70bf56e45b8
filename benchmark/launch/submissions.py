"""The files `results/submissions/*.json`: what was submitted to Slurm, by whom and when.

Any login node can read them. They only say which job was meant to do a run; whether the run is
done or has failed is in its folder, and whether the job is still there is in the queue.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmark.launch.slurm_queue import ArrayTask, run_slurm_command
from benchmark.store.atomic import encode_json, write_atomic
from benchmark.store.claim import claim_run, read_claim
from benchmark.store.fields import read_fields, read_intact


@dataclass(frozen=True)
class Submission:
    """What one `run` command has submitted."""

    suite: str
    digest: str
    who: str
    when: str
    tasks: list[ArrayTask] = field(default_factory=list)
    cancelled: str | None = None
    """When it was cancelled."""
    schema: int = 1

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encode_json(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Submission:
        """Return a file's content. Raises DamagedFileError if it is no submission."""
        return read_fields(cls, path)


UNKNOWN_JOBS = (
    "The jobs that it named are unknown here: `squeue --me` lists them if they are still queued, "
    "and `scancel` ends them. Then remove the file."
)
TasksByRun = Mapping[str, Sequence[ArrayTask]]
"""The tasks that were submitted for each run id, oldest first."""


def read_submissions(results: Path) -> dict[Path, Submission]:
    """Return all submissions of a results folder by file, oldest first.

    A damaged file is left out and named on standard error.
    """
    paths = sorted((results / "submissions").glob("*.json"))
    return read_intact(paths, Submission.read, UNKNOWN_JOBS)


def tasks_by_run(results: Path, run_ids: Iterable[str]) -> dict[str, list[ArrayTask]]:
    """Return the tasks submitted for each run; cancelled submissions and other runs are left out.

    Runs without tasks are not in the result.
    """
    tasks: dict[str, list[ArrayTask]] = {run_id: [] for run_id in run_ids}
    for submission in read_submissions(results).values():
        for task in submission.tasks if submission.cancelled is None else ():
            for run_id in tasks.keys() & task.runs:
                tasks[run_id].append(task)
    return {run_id: run_tasks for run_id, run_tasks in tasks.items() if run_tasks}


@contextlib.contextmanager
def submission_lock(results: Path) -> Iterator[None]:
    """Wait until no other process submits or cancels, then keep others from it."""
    folder = results / "submissions" / "turn"
    printed = False
    while (lock := claim_run(folder)) is None:
        holder = read_claim(folder)
        if holder is not None and not printed:
            print(
                f"waiting for process {holder.pid} on {holder.host}, which is submitting or "
                "cancelling jobs"
            )
            printed = True
        time.sleep(0.2)
    try:
        with lock.keep_alive():
            yield
    finally:
        lock.release()


@contextlib.contextmanager
def cancelling_unrecorded(comment: str, known: Set[str]) -> Iterator[None]:
    """If the block fails, cancel the arrays that it has queued with this comment.

    `cancel` would not know of them. Those in ``known`` are recorded and stay.
    """
    try:
        yield
    except BaseException:
        rows = run_slurm_command("squeue", "--noheader", "--format=%F|%k") or ""
        pairs = [line.strip().partition("|") for line in rows.splitlines()]
        arrays = {array for array, _, its_comment in pairs if its_comment == comment} - known
        if arrays:
            run_slurm_command("scancel", *sorted(arrays))
        raise
