"""Find the log files of a run's jobs."""

from __future__ import annotations

from pathlib import Path

from benchmark.job.file import Job
from benchmark.launch.submissions import read_submissions


def newest_logs(results: Path) -> dict[str, Path]:
    """Return the newest existing job log of each run, from Slurm jobs and from local ones."""
    logs = [
        (results / task.log, task.runs)
        for submission in read_submissions(results).values()
        for task in submission.tasks
    ]
    files = (results / "jobs").glob("*.json")
    logs += [(path.with_suffix(".log"), Job.read(path).runs) for path in files]
    dated = sorted((path.stat().st_mtime, path, ids) for path, ids in logs if path.exists())
    return {run_id: path for _, path, ids in dated for run_id in ids}
