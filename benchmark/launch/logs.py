"""Find the log files of a run's jobs."""

from __future__ import annotations

from pathlib import Path

from benchmark.job.file import Job
from benchmark.launch.submissions import read_submissions
from benchmark.store.fields import read_intact


def newest_logs(results: Path) -> dict[str, Path]:
    """Return the newest existing job log of each run, from Slurm jobs and from local ones."""
    logs = [
        (results / task.log, task.runs)
        for submission in read_submissions(results).values()
        for task in submission.tasks
    ]
    files = (results / "jobs").glob("*.json")
    jobs = read_intact(files, Job.read, "The log beside it belongs to runs that are unknown here")
    logs += [(path.with_suffix(".log"), job.runs) for path, job in jobs.items()]
    dated = sorted((path.stat().st_mtime, path, ids) for path, ids in logs if path.is_file())
    return {run_id: path for _, path, ids in dated for run_id in ids}
