"""Run the command and its jobs in forks of this process, which need not import torch again.

They do what run_all.py does, with real processes and real files. A fork cannot use a GPU, so where
torch sees one the command is started as a user starts it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Forked:
    """A forked process with the part of the interface of subprocess.Popen that the tests need."""

    def __init__(self, act: Callable[[], int], stdout: Any, stderr: Any) -> None:
        self.pid = fork(act, stdout.fileno(), stderr.fileno())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and (status := reaped(self.pid)):
            self.returncode = status[1]
        return self.returncode

    def wait(self, timeout: float) -> int:
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("a fork", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Worker(Forked):
    """The process of a job; it replaces subprocess.Popen in the launcher."""

    def __init__(
        self,
        command: Sequence[str],
        stdout: Any,
        env: Mapping[str, str],
        stdin: int | None = None,
        pass_fds: Sequence[int] = (),
        **_: object,
    ) -> None:
        from benchmark.job import __main__ as job

        assert list(command[1:3]) == ["-m", "benchmark.job"], command

        def act() -> int:
            if stdin is not None:
                os.dup2(stdin, 0)
            nothing = os.open(os.devnull, os.O_RDWR)
            there = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
            for number in there - {0, 1, 2, *pass_fds}:
                os.dup2(
                    nothing, number
                )  # a closed number could be reused, and then closed by its old owner
            os.environ |= env
            return job.main(command[3:])

        super().__init__(act, stdout, stdout)


class Command(Forked):
    """A forked run_all.py whose output is captured."""

    def __init__(self, words: Sequence[str]) -> None:
        self.files = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        super().__init__(lambda: command(words), *self.files)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; return standard output and standard error."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        for file in self.files:
            file.seek(0)
        out, error = (file.read() for file in self.files)
        return out, error


def start(words: Sequence[str]) -> Command | subprocess.Popen[str]:
    """Start the command."""
    import torch

    if torch.cuda.device_count() == 0:
        load()
        return Command(words)
    full, pipe = [sys.executable, str(ROOT / "run_all.py"), *words], subprocess.PIPE
    return subprocess.Popen(full, stdout=pipe, stderr=pipe, text=True)


@cache
def load() -> None:
    """Import what the command and its jobs import lazily, so that the forks need not."""
    for name in ("benchmark.job.__main__", "seaborn"):
        importlib.import_module(name)


def command(words: Sequence[str]) -> int:
    """Do what run_all.py does, with forked workers and children."""
    from benchmark.cli import main
    from benchmark.processes import child

    fork_context = multiprocessing.get_context("fork")
    vars(child).update(get_context=lambda _: fork_context)
    fork_jobs()
    sys.argv = [str(ROOT / "run_all.py"), *words]
    return main.main(words)


def fork_jobs() -> None:
    """From now on, start this process's jobs as forks of it."""
    from benchmark.launch import local_job

    names = ("STDOUT", "TimeoutExpired")
    real = {name: getattr(subprocess, name) for name in names}
    vars(local_job).update(subprocess=SimpleNamespace(Popen=Worker, **real))


def fork(act: Callable[[], int], out: int, error: int) -> int:
    """Call a function in a new process and session; return the process id."""
    pid = os.fork()
    if pid:
        return pid
    code: Any = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(out, 1)
        os.dup2(error, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        code = act()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def reaped(process: int) -> tuple[int, int] | None:
    """Return id and exit code of an ended child (-1: of any child), None if none has ended."""
    try:
        pid, status = os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None
