"""Start `run_all.py` in tests, and read the files that it writes.

`suite` writes a small suite, `call` runs a command on it, `records` reads the results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.training.cohort import TIMING_FIELDS
from tests.processes import forks

Process = forks.Command | subprocess.Popen[str]
ROOT = Path(__file__).parents[2]
SUITE = """
title: a test
dataset: {name: digits, limit: 64}
pairs: [resnet14 -> resnet8]
methods:
  scratch:
  kd:
  fitnets:
seeds: [0]
recipe: {epochs: 3, batch_size: 32, lr: 0.05}
"""
KEPT = {"config.json", "record.json", "student.pt", "predictions.npy"}
"""The files that a finished run keeps."""
LONG = SUITE.replace("epochs: 3", "epochs: 200")
"""A suite that is interrupted: it would train for minutes."""
TORCHLESS = """
import sys
from importlib.machinery import PathFinder

class Torchless(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name in ("torch", "torchvision")
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path = [Torchless if finder is PathFinder else finder for finder in sys.meta_path]
from benchmark.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""A program that is `run_all.py` on a machine without torch."""


def suite(tmp_path: Path, text: str = SUITE) -> Path:
    """Write a suite file named `small` and return its path."""
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return path


def command(tmp_path: Path, *arguments: str) -> list[str]:
    """Return the command line of `run_all.py` with results in ``tmp_path``."""
    results = ["--results", str(tmp_path / "results")]
    return [sys.executable, str(ROOT / "run_all.py"), *arguments, *results]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command line in a new interpreter, as a user does."""
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def start(tmp_path: Path, *arguments: str) -> Process:
    """Start `run_all.py` in a fork of this process, which has loaded torch already."""
    return forks.start(command(tmp_path, *arguments)[2:])


def call(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `run_all.py` in a fork and wait for its end."""
    process = start(tmp_path, *arguments)
    out, error = process.communicate(timeout=300)
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, error)


def records(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Return the records of all finished runs by run id."""
    return {
        path.parent.name: json.loads(path.read_text())
        for path in (tmp_path / "results" / "runs").glob("*/record.json")
    }


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal in two records of a run: all but times, cohort and machine."""
    history = [
        {k: v for k, v in row.items() if k not in TIMING_FIELDS} for row in record["history"]
    ]
    keep = ("id", "config", "result", "teacher", "weights", "measures")
    return {**{key: record[key] for key in keep}, "history": history}


def wait_for_a_checkpoint(tmp_path: Path, process: forks.Forked | subprocess.Popen[Any]) -> None:
    """Wait until a checkpoint is written that was not there before, or the process has ended."""
    before = checkpoint_times(tmp_path)
    until = time.monotonic() + 60
    while checkpoint_times(tmp_path) == before and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)


def checkpoint_times(tmp_path: Path) -> set[tuple[str, int]]:
    """Return every checkpoint with its time of modification."""
    times = set()
    for path in (tmp_path / "results").glob("runs/*/checkpoint.pt"):
        try:
            times.add((str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:  # replaced at this moment
            continue
    return times


def children(process: forks.Forked | Process) -> list[int]:
    """Return the process ids of a process's children."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def is_job(pid: int) -> bool:
    return b"benchmark.job" in Path(f"/proc/{pid}/cmdline").read_bytes()
