"""A job's processes on this machine: they start together, and if one fails the others are ended.

Several processes learn their rank from environment variables, as under torchrun. They meet at a
port of 127.0.0.1 that is open before the first process starts, so two jobs never pick the same one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from benchmark.processes.contract import (
    ENDS_WITH_LAUNCHER,
    INTERRUPTED_STATUSES,
    MASTER_FD,
    SECONDS_TO_END,
    format_exit_status,
    job_environment,
)

FAILURE_GRACE = 10.0
"""Seconds that the other processes get to report errors after one has failed; then they are ended.
"""


class LocalJob:
    """The processes of one job, each in its own session, so that Ctrl-C does not reach them."""

    def __init__(self, command: Sequence[str], count: int, log: Path) -> None:
        self.log = log
        self.file: IO[bytes] = log.open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.first_failure: str | None = None
        """How the first process that failed has ended."""
        self.stop_after = self.stopped_at = float("inf")
        """Monotonic times: when to stop the other processes, and when they were stopped."""
        self.lifeline: int | None = None
        """Write end of a pipe. The processes end if it closes because the launcher has died."""
        if count == 1:
            self._start(command, {"WORLD_SIZE": "1"})
        else:
            self._start_together(command, count)

    def _start_together(self, command: Sequence[str], count: int) -> None:
        read_end, self.lifeline = os.pipe()
        try:
            with socket.create_server(("127.0.0.1", 0), backlog=count) as server:
                port = str(server.getsockname()[1])
                meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                for rank in map(str, range(count)):
                    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(count)}
                    variables = ranks | meeting | {ENDS_WITH_LAUNCHER: "1"}
                    if rank == "0":
                        number = server.fileno()
                        variables |= {MASTER_FD: str(number)}
                        self._start(command, variables, read_end, [number])
                    else:
                        self._start(command, variables, read_end)
        except BaseException:
            self._kill()
            self._close()
            raise
        finally:
            os.close(read_end)

    def _start(
        self,
        command: Sequence[str],
        variables: dict[str, str],
        stdin: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            env=os.environ | job_environment() | variables,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self.processes.append(process)

    def ended(self) -> str | None:
        """Return how the job ended (exit code or signal) once all processes have; until then None.

        If one process has failed, this also stops and finally kills the others.
        """
        codes = [process.poll() for process in self.processes]
        failed = [code for code in codes if code]
        if failed and self.first_failure is None:
            first = min(failed, key=exit_code_priority)
            self.first_failure = format_exit_status(first)
            grace = FAILURE_GRACE if exit_code_priority(first) == 2 else 0
            self.stop_after = time.monotonic() + grace
        if None in codes:
            self._stop_if_due()
            return None
        self._close()
        return self.first_failure or format_exit_status(0)

    def _stop_if_due(self) -> None:
        now = time.monotonic()
        if now > self.stopped_at + SECONDS_TO_END:
            self._kill()
        elif now > self.stop_after and self.stopped_at > now:
            self.stop()

    def stop(self) -> None:
        """Send SIGTERM to all processes, first to rank 0, which holds the claims."""
        if self.stopped_at == float("inf"):  # a second signal would interrupt the cleanup
            self.stopped_at = time.monotonic()
            for process in self.processes:
                process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until all processes have ended; kill them after ``seconds``."""
        until = time.monotonic() + seconds
        try:
            for process in self.processes:
                process.wait(max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill()
        self._close()

    def _kill(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            # A process that hangs in a broken disk's input or output cannot even be killed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_END)

    def _close(self) -> None:
        self.file.close()
        if self.lifeline is not None:
            os.close(self.lifeline)
            self.lifeline = None


def exit_code_priority(code: int) -> int:
    """Rank exit codes by how well they explain a job's end: killed 0, interrupted 1, failed 2."""
    if code in INTERRUPTED_STATUSES:
        return 1
    return 0 if code < 0 else 2
