"""A job as a cluster starts it: what happens on a node around the command line that trains."""

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
from benchmark.launch.status import blame_silent_runs
from benchmark.processes.contract import INTERRUPTED, additions, how
from benchmark.store.folder import Store

LAST_WORD = 120.0
"""Seconds that a process beside the first waits when it has failed: it may be queued again with it,
or the first may be writing down why."""


class Call:
    """What submitit pickles and calls on a node: a job, and what to do on USR2."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run the job in the node's own environment, where Slurm says which GPU is whose."""
        command = [sys.executable, "-m", "benchmark.job", str(self.path)]
        who = task()
        environment = os.environ | additions() | who
        self.process = subprocess.Popen(command, env=environment, preexec_fn=deaf)
        # No blocking wait: USR2 would be answered in the middle of it, under its lock.
        while (code := self.process.poll()) is None:
            time.sleep(0.2)
        if code in INTERRUPTED and "SLURM_JOB_ID" in os.environ:
            # Cancelled or preempted. To end now would be to have ended well, never to be requeued.
            time.sleep(600)
        elif code:
            self.fail(how(code), who)

    def fail(self, word: str, who: Mapping[str, str]) -> NoReturn:
        """Blame the runs that nobody has blamed, and let Slurm end the job."""
        job, silent = Job.read(self.path), {"waiting"}
        if who["RANK"] != "0":
            word = f"process {who['RANK']} of {who['WORLD_SIZE']}: {word}"
            time.sleep(LAST_WORD)
            silent |= {"running"}  # the first waits for us in vain, and is killed with its claims
        message = f"the job ended ({word}) before the run did"
        blame_silent_runs(job.runs, Store(Path(job.results)), message, silent)
        raise RuntimeError(f"the job ended ({word})")

    def checkpoint(self) -> Any:  # noqa: ANN401  (submitit's)
        """Before a time limit or a preemption: be queued again, to go on from the last epoch."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            end(self.process, 60)
        return DelayedSubmission(Call(self.path))


def task() -> dict[str, str]:
    """Say to a job's process which of how many tasks this is, and where they meet."""
    from submitit.helpers import TorchDistributedEnvironment

    ours = TorchDistributedEnvironment()
    # A node's name is Slurm's; where the batch script runs, which is the first node, is an address.
    address = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", ours.master_addr)
    return {
        "RANK": str(ours.rank),
        "WORLD_SIZE": str(ours.world_size),
        "LOCAL_RANK": str(ours.local_rank),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(ours.master_port),
    }


def deaf() -> None:
    """Ignore a cluster's warning, which goes to every process: the parent answers it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let a process release its claims, and kill it if that takes longer. It is not reaped."""
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):  # it had been reaped before
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() > until:
                process.kill()
            time.sleep(0.1)
