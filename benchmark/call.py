"""A job as a cluster starts it: what happens on a node around the command line that trains."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark.plan import Job
from benchmark.store import Store

ROOT = Path(__file__).resolve().parent.parent
INTERRUPTED = (130, -signal.SIGTERM)
"""How a job ends that was told to: with its claims released and nothing to be blamed for."""


class Call:
    """What submitit pickles and calls on a node: a job, and what to do on USR2."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run the job in the node's own environment, where Slurm says which GPU is whose."""
        command = [sys.executable, "-m", "benchmark.job", str(self.path)]
        self.process = subprocess.Popen(command, env=os.environ | additions(), preexec_fn=deaf)
        # No blocking wait: USR2 would be answered in the middle of it, under its lock.
        while (code := self.process.poll()) is None:
            time.sleep(0.2)
        if code in INTERRUPTED and "SLURM_JOB_ID" in os.environ:
            # Cancelled or preempted. To end now would be to have ended well, never to be requeued.
            time.sleep(600)
        elif code:
            job, message = Job.read(self.path), f"the job ended ({how(code)}) before the run did"
            blame_silent_runs(job.runs, Store(Path(job.results)), message)
            raise RuntimeError(f"the job ended ({how(code)})")

    def checkpoint(self) -> Any:  # noqa: ANN401  (submitit's)
        """Before a time limit or a preemption: be queued again, to go on from the last epoch."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            end(self.process, 60)
        return DelayedSubmission(Call(self.path))


def deaf() -> None:
    """Ignore a cluster's warning, which goes to every process: the parent answers it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def how(code: int) -> str:
    """Name an exit status."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let a process release its claims, and kill it if that takes longer. It is not reaped."""
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):  # it had been reaped before
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() > until:
                process.kill()
            time.sleep(0.1)


def blame_silent_runs(run_ids: Iterable[str], store: Store, message: str) -> None:
    """Mark the runs failed of a job that died without a word (kill -9, out of memory).

    A run with a record, a failure or somebody else's live claim is not silent.
    """
    for run_id in run_ids:
        folder = store.run(run_id)
        if folder.state() == "waiting":
            folder.write_failure("died", message)


def additions() -> dict[str, str]:
    """Let a job import this checkout from wherever it starts, and keep libraries to one thread."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
