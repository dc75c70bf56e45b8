"""The function that submitit calls on a cluster node: it runs one job as a child process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from benchmark.job.file import Job
from benchmark.launch.status import fail_runs_of_dead_job
from benchmark.processes.contract import INTERRUPTED_STATUSES, format_exit_status, job_environment
from benchmark.store.folder import Store

FAILURE_WAIT = 120.0
"""Seconds that a failed process other than rank 0 waits before it marks the runs as failed. In
that time Slurm may requeue the job, or rank 0 may write the reason itself."""


class SlurmTask:
    """The callable that submitit pickles: runs a job file and handles USR2."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run the job in the node's environment, where Slurm sets the visible GPUs."""
        command = [sys.executable, "-m", "benchmark.job", str(self.path)]
        ranks = rank_environment()
        environment = os.environ | job_environment() | ranks
        self.process = subprocess.Popen(command, env=environment, preexec_fn=ignore_usr2)
        # Poll: a blocking wait holds the Popen lock, which the USR2 handler needs.
        while (code := self.process.poll()) is None:
            time.sleep(0.2)
        if code in INTERRUPTED_STATUSES and "SLURM_JOB_ID" in os.environ:
            # Cancelled or preempted. If this function returned, Slurm would count the job as
            # completed and never requeue it. Slurm kills it while it sleeps.
            time.sleep(600)
        elif code:
            self.fail(format_exit_status(code), ranks)

    def fail(self, ending: str, ranks: Mapping[str, str]) -> NoReturn:
        """Mark runs without a reason as failed, and make the Slurm job fail."""
        job, states = Job.read(self.path), {"waiting"}
        if ranks["RANK"] != "0":
            ending = f"process {ranks['RANK']} of {ranks['WORLD_SIZE']}: {ending}"
            time.sleep(FAILURE_WAIT)
            # Rank 0 waits for this process in vain. It is killed soon and leaves its claims behind.
            states |= {"running"}
        message = f"the job ended ({ending}) before the run did"
        fail_runs_of_dead_job(job.runs, Store(Path(job.results)), message, states)
        raise RuntimeError(f"the job ended ({ending})")

    def checkpoint(self) -> Any:  # noqa: ANN401  (submitit's)
        """Stop the job and ask submitit to requeue it; it resumes from its last epoch.

        submitit calls this before a time limit or a preemption.
        """
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            terminate(self.process, 60)
        return DelayedSubmission(SlurmTask(self.path))


def rank_environment() -> dict[str, str]:
    """Return the variables that tell a process its rank and where to meet the others."""
    from submitit.helpers import TorchDistributedEnvironment

    torch_environment = TorchDistributedEnvironment()
    # submitit gives Slurm's name of the first node, which need not be a host name. The batch script
    # runs on the first node too, and for that Slurm gives an address.
    address = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", torch_environment.master_addr)
    return {
        "RANK": str(torch_environment.rank),
        "WORLD_SIZE": str(torch_environment.world_size),
        "LOCAL_RANK": str(torch_environment.local_rank),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(torch_environment.master_port),
    }


def ignore_usr2() -> None:
    """Ignore USR2. Slurm sends it to every process of a job, and the parent handles it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def terminate(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Send SIGTERM, so that the process releases its claims, and SIGKILL after ``seconds``.

    The process is not reaped: the loop that polls it does that.
    """
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):  # already reaped
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() > until:
                process.kill()
            time.sleep(0.1)
