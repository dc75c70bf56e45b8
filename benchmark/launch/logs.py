"""Where the logs of a run's jobs are."""

from __future__ import annotations

from pathlib import Path

from benchmark.job.file import Job
from benchmark.launch.submissions import submissions


def logs_of(results: Path) -> dict[str, Path]:
    """Return the newest log there is of each run's jobs, a cluster's or this machine's."""
    logs = [(results / t.log, t.runs) for s in submissions(results).values() for t in s.tasks]
    files = (results / "jobs").glob("*.json")
    logs += [(path.with_suffix(".log"), Job.read(path).runs) for path in files]
    dated = sorted((path.stat().st_mtime, path, ids) for path, ids in logs if path.exists())
    return {run_id: path for _, path, ids in dated for run_id in ids}
