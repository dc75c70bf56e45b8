"""A real Slurm for the tests: munge, database, controller and nodes as processes of this machine.

It writes to one folder and listens on loopback only. ``tests.slurm.processes`` makes sure that no
process or file is left behind.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tests.slurm.configuration import configure, user
from tests.slurm.processes import clear, kill, processes, program, watch

T = TypeVar("T")
PACKAGES = {  # of Debian and Ubuntu, each with a command that only it installs
    "munge": "munged",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurm-client": "sbatch",
    "slurmdbd": "slurmdbd",
    "mariadb-server-core": "mariadb-install-db",
    "mariadb-client-core": "my_print_defaults",
}
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class Cluster:
    """A running Slurm; ``start`` makes one.

    Its nodes n1, n2, ... have 4 CPUs and 16 GB each, for scheduling only: no limit is enforced.
    Its partitions are low, main (the default) and high. Jobs in low are preempted by the others.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder.resolve()
        self.nodes = [f"n{number + 1}" for number in range(nodes)]
        self.lock, self.port = reserve_ports(2 + nodes)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.folder.mkdir(mode=0o700)
        self.watcher = watch(self.folder)

    @classmethod
    def start(cls, folder: Path | None = None, nodes: int = 7, gpus: int = 2) -> Cluster:
        """Start a cluster and return it once every node is idle. ``folder`` must not exist.

        Its path must be short, since sockets lie in it. It should be in memory: the database syncs
        often.
        """
        cluster = cls(folder or default_folder(), nodes)
        try:
            configure(cluster.folder, cluster.nodes, gpus, cluster.port)
            cluster._start_accounting()
            cluster._start_controller()
            cluster._start_nodes(cluster.nodes)
        except BaseException as error:
            error.add_note(cluster.logs())
            cluster.stop()
            raise
        return cluster

    def stop(self) -> None:
        """Kill every process and remove the folder; there is nothing to save."""
        clear(self.folder)
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()
        self.watcher.communicate()  # closes its pipe, so that it ends
        self.lock.close()

    def environment(self) -> dict[str, str]:
        """Return this process's environment, changed so that Slurm's commands use this cluster.

        Variables of another Slurm are removed: the tests may run as one of its jobs.
        """
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        return ours | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def run(self, *command: str, seconds: float = 30) -> str:
        """Run a command with this cluster and return its output.

        Raises RuntimeError with its standard error if it fails.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,  # where sbatch puts logs
            env=self.environment(),
            timeout=seconds,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon, steps and jobs at once, like a power cut.

        Slurm notices after 15 s, or at once after ``scontrol update state=down``.
        """
        daemon = self.daemons.pop(f"slurmd-{name}")
        daemon.kill()
        daemon.wait()
        while here := processes(self.folder, name):
            # Steps first: a step that outlives its job would report the job's end.
            steps = [pid for pid in here if program(pid) == "slurmstepd"]
            for pid in steps or here:
                kill(pid)

    def start_node(self, name: str) -> None:
        """Start a lost node again and wait until Slurm has registered it."""
        self._start_nodes([name])

    def restart_controller(self, meanwhile: Callable[[], T]) -> T:
        """Shut the controller down, call ``meanwhile`` without it, and start it again."""
        self.daemons["slurmctld"].terminate()
        self.daemons["slurmctld"].wait(30)
        done = meanwhile()
        self._start_controller()
        return done

    def logs(self, lines: int = 15) -> str:
        """Return Slurm's lists of jobs and nodes and the last lines of every log."""
        parts = []
        for command in ("squeue --all --states=all", "sinfo -N -o '%N %P %t %E'"):
            try:
                found = self.run("sh", "-c", command, seconds=10)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                found = str(error)
            parts.append(f"--- {command}\n{found}")
        for log in sorted((self.folder / "log").glob("*")):
            if log.suffix == ".out" and log.with_suffix(".log").exists():
                continue  # same content
            end = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {log.name}", *end]))
        return "\n".join(parts)

    def _start_accounting(self) -> None:
        """Start slurmdbd, which answers sacct, with a database without port and password."""
        folder, socket_path = self.folder, self.folder / "database.socket"
        database = ("--no-defaults", f"--datadir={folder}/database", f"--user={user()}")
        self._spawn(
            *("munged", "--foreground", "--force", f"--key-file={folder}/munge.key"),
            *(f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"),
            *(f"--log-file={folder}/log/munged.log", f"--seed-file={folder}/munge.seed"),
        )
        self.run("mariadb-install-db", *database, "--skip-test-db", seconds=60)
        self._spawn(
            *("mariadbd", *database, "--skip-networking", f"--socket={socket_path}"),
            *("--skip-grant-tables", f"--pid-file={folder}/database.pid"),
            *("--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"),
        )
        self._until("the database answers", socket_path.exists)
        self._spawn("slurmdbd", "-D", MYSQL_UNIX_PORT=str(socket_path))
        self._until("slurmdbd answers", lambda: self._answers("sacctmgr", "show", "cluster"))
        self.run("sacctmgr", "--immediate", "add", "cluster", "kd")

    def _start_controller(self) -> None:
        self._spawn("slurmctld", "-D")
        self._until("slurmctld answers", lambda: self._answers("scontrol", "ping"))

    def _start_nodes(self, names: list[str]) -> None:
        since = datetime.now().isoformat(timespec="seconds")
        for name in names:
            self._spawn("slurmd", "-D", "-N", name, SLURMD_NODENAME=name)
        self._until(f"{', '.join(names)} up", lambda: self._registered(since) >= {*names})

    def _registered(self, since: str) -> set[str]:
        """Return the nodes in service whose daemon has registered since a time.

        After a node was lost and started again, the controller may still list the old daemon.
        """
        line = re.compile(
            r"NodeName=(\S+) .*State=(IDLE|MIXED|ALLOCATED) .*SlurmdStartTime=(\d\S+)"
        )
        found = line.findall(self.run("scontrol", "--oneliner", "show", "nodes"))
        return {name for name, _, start in found if start >= since}

    def _until(self, what: str, check: Callable[[], bool]) -> None:
        """Wait until a check holds. Raises RuntimeError if a daemon has ended."""

        def checked() -> bool:
            dead = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if dead:
                raise RuntimeError(f"{', '.join(dead)} ended while waiting until {what}")
            return check()

        until(what, checked, 60)

    def _answers(self, *command: str) -> bool:
        try:
            self.run(*command)
        except RuntimeError:
            return False
        return True

    def _spawn(self, *command: str, **environment: str) -> None:
        name = "-".join([command[0], *environment.get("SLURMD_NODENAME", "").split()])
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment() | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def missing() -> list[str]:
    """Return the packages that are not installed."""
    return [name for name, command in PACKAGES.items() if not shutil.which(command, path=PATH)]


def until(what: str, check: Callable[[], bool], seconds: float) -> None:
    """Wait until ``check`` holds. Raises TimeoutError after ``seconds``."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def default_folder() -> Path:
    """Return a folder name for this process, in memory if possible."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return place / f"kd-slurm-{os.getpid()}"


def reserve_ports(count: int) -> tuple[socket.socket, int]:
    """Return a lock and the first of ``count`` free ports, which it reserves while it is open."""
    for first in range(26_000, 32_000, 50):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0kd-slurm-{first}")  # abstract: one per network namespace
            for port in range(first, first + count):
                with socket.socket() as trial:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    trial.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
        else:
            return lock, first
    raise RuntimeError(f"no {count} free ports in a row on 127.0.0.1")
