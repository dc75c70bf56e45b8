"""Kill a suite's processes at random moments; in the end it must be as if nothing had happened.

    python tests/whole/torture.py --kills 200

runs a small grid through the command line with two workers. It kills (SIGKILL) the command, one of
its workers, another process that these have started, or all of them at once; starts the command
again until the grid is done; compares all that it has written with an undisturbed run's; and does
that over and over. What is killed are real processes with real files; only, they are forked from
this one, which has loaded torch already. `--cold` starts them as a user does. On Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Threads as the launcher has it; and where torch sees a GPU, a fork cannot train.
os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
sys.path.insert(0, str(ROOT))

from tests.processes.forks import command, fork, reaped  # noqa: E402

SUITE = """
title: a suite that is tortured
dataset: {name: digits, limit: 64}
pairs: [resnet14 -> resnet8]
methods: {scratch: {}, kd: {}, fitnets: {}, rkd: {}}
seeds: [0, 1]
recipe: {epochs: 3, batch_size: 32, lr: 0.05}
"""
LARGEST = 2
MACHINE = f"{{launcher: local, device: cpu, workers: 2, largest: {LARGEST}}}"
KILLS_A_ROUND = 10
PATIENCE = 180.0
"""Seconds after which a command that nobody kills is thought to hang."""
SUBREAPER = 36  # prctl's PR_SET_CHILD_SUBREAPER


class WrongError(Exception):
    """What must not be."""


class Torture:
    """A folder to work in, and what has been done there so far."""

    def __init__(self, folder: Path, seed: int, cold: bool) -> None:
        self.folder, self.draw, self.cold = folder, random.Random(seed), cold
        self.kills: Counter[str] = Counter()
        self.starts = self.repeated = self.rounds = 0
        """Epochs trained more than once are those that kills have cost."""
        self.ended: dict[int, int] = {}
        (folder / "small.yaml").write_text(SUITE)
        (folder / "machine.yaml").write_text(MACHINE)

    def undisturbed(self) -> dict[str, Any]:
        """Do the suite in this process, which loads all that forks of it will need."""
        import matplotlib.pyplot as plt  # noqa: F401
        import seaborn  # noqa: F401
        import torch

        from tests.job import in_process

        torch.set_num_threads(1)
        with (self.folder / "log").open("a") as log, contextlib.redirect_stdout(log):
            in_process.perform(in_process.grid(self.folder, SUITE), self.folder / "undisturbed")
        return self.found(self.folder / "undisturbed", 0)

    def round(self, kills: int) -> dict[str, Any]:
        """Do the suite from nothing, with so many kills at most; return what is there then."""
        self.rounds += 1
        results, before = self.folder / f"results-{self.rounds}", self.kills.total()
        starts, code, deaths = 0, 1, 0
        while code != 0:
            starts += 1
            if starts > 3 + 2 * kills:
                raise WrongError(f"{results}: not done after {starts} starts")
            command, helpers = self.start(results), self.kills["a helper"]
            while self.kills.total() - before < kills:
                # A start takes seconds where torch has to be loaded.
                if self.waited(command, self.draw.uniform(0, 12 if self.cold else 1.2)):
                    break
                deaths += self.kill(command)
            if not self.waited(command, PATIENCE):
                raise WrongError(f"{results}: the command does not come to an end")
            code = self.ended[command]
            # Without a helper it ends, says so and asks to be run again.
            helpless = self.kills["a helper"] > helpers
            if code not in (0, 1, -signal.SIGKILL) and not (code == 2 and helpless):
                raise WrongError(f"{results}: the command ended with exit code {code}")
        self.starts += starts
        self.await_workers()
        return self.found(results, deaths)

    def start(self, results: Path) -> int:
        """Start the command; return its process number."""
        words = ["run", str(self.folder / "small.yaml"), "--results", str(results)]
        words += ["--machine", str(self.folder / "machine.yaml")]
        full = [sys.executable, str(ROOT / "run_all.py"), *words]
        with (self.folder / "log").open("ab") as log:
            if self.cold:
                return fork(lambda: os.execv(full[0], full), log.fileno(), log.fileno())
            return fork(lambda: command(words), log.fileno(), log.fileno())

    def waited(self, process: int, seconds: float) -> bool:
        """Wait until a process has ended, so long at most; say whether it has."""
        until = time.monotonic() + seconds
        while True:
            while (status := reaped(-1)) is not None:
                self.ended[status[0]] = status[1]
            if process in self.ended or time.monotonic() > until:
                return process in self.ended
            time.sleep(0.002)

    def await_workers(self) -> None:
        """Let those end that have survived the command that had started them."""
        until = time.monotonic() + PATIENCE
        while any(is_leader(process) for process in descendants()) and time.monotonic() < until:
            self.waited(0, 0.05)
        for process in descendants():  # what such a command had other processes for
            killing(process)

    def kill(self, command: int) -> int:
        """Kill something, unless all has just ended; return how many processes."""
        there = sorted(descendants())
        workers = [process for process in there if process != command and is_leader(process)]
        if not there:
            return 0
        # Workers for the most part: they have the most to lose.
        one = self.draw.choice(workers if workers and self.draw.random() < 0.6 else there)
        what = "the command" if one == command else "a worker" if one in workers else "a helper"
        everything = self.draw.random() < 0.15
        killed = sum(killing(process) for process in (there if everything else [one]))
        self.kills["everything" if everything else what] += killed > 0
        return killed

    def found(self, results: Path, deaths: int) -> dict[str, Any]:
        """Read what a round has left. Raises ``WrongError`` where it is more than it should be."""
        from benchmark.store.folder import Store
        from tests.cli.command import KEPT, numbers

        store, made = Store(results), {}
        for path in sorted((results / "runs").iterdir()):
            record, names = store.run(path.name).read_record(), {p.name for p in path.iterdir()}
            if names != KEPT:
                raise WrongError(f"{path}: has {sorted(names)}")
            files = [path / name for name in ("student.pt", "predictions.npy")]
            found = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
            made[path.name] = {**numbers(record), "files": found}
        if left := [str(path) for path in results.rglob(".*")]:
            raise WrongError(f"left over: {left}")
        trained = sum(
            len(re.findall(r" epoch \d+/\d+ ", log.read_text()))
            for log in (results / "jobs").glob("*.log")
        )
        repeated = max(0, trained - sum(len(one["history"]) for one in made.values()))
        # It is lost at most the epoch that a worker was in, for each run of its cohort.
        if repeated > deaths * LARGEST:
            raise WrongError(f"{results}: {repeated} epochs trained twice after {deaths} deaths")
        self.repeated += repeated
        return made


# ---------------------------------------------------------------- processes


def descendants() -> set[int]:
    """All living processes that this one has started, and those that they have."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            parents[int(path.parent.name)] = int(parent)
    found: set[int] = set()
    fresh = {os.getpid()}
    while fresh := {pid for pid, parent in parents.items() if parent in fresh} - found:
        found |= fresh
    return found


def killing(process: int) -> bool:
    """Kill a process, and say whether it was still there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def is_leader(process: int) -> bool:
    """Whether a process is a worker: they alone, beside the command, lead a session."""
    try:
        return os.getsid(process) == process
    except ProcessLookupError:
        return False


# ---------------------------------------------------------------- the program


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--cold", action="store_true", help="start processes as a user does")
    options = parser.parse_args(arguments)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        return torture(Torture(Path(folder), options.seed, options.cold), options)


def torture(work: Torture, options: argparse.Namespace) -> int:
    begun = time.monotonic()
    try:
        expected = work.undisturbed()
        say(f"seed {options.seed}: undisturbed, {len(expected)} runs in {elapsed(begun)}")
        while (left := options.kills - work.kills.total()) > 0:
            made = work.round(min(left, KILLS_A_ROUND))
            if made != expected:
                wrong = {k for k in made.keys() | expected.keys() if made.get(k) != expected.get(k)}
                raise WrongError(f"not as undisturbed: {sorted(wrong)}")
            say(f"round {work.rounds}: {work.kills.total()} kills, {elapsed(begun)}")
    except BaseException:
        for process in descendants():
            killing(process)
        print((work.folder / "log").read_text()[-6000:], file=sys.stderr)
        raise
    kinds = ", ".join(f"{count} {what}" for what, count in sorted(work.kills.items()))
    say(
        f"{work.kills.total()} kills ({kinds}), {work.starts} starts, {work.rounds} rounds, "
        f"{work.repeated} epochs trained twice, {elapsed(begun)}: all records and weights as "
        "undisturbed, none missing, none double, nothing left over"
    )
    return 0


def elapsed(begun: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    return f"{minutes} min {seconds} s"


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
