"""The command line as tests start it, and readers for what it leaves on disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmark.training.cohort import CLOCKED
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
"""What a finished run leaves."""
LONG = SUITE.replace("epochs: 3", "epochs: 200")
"""Which no test is to wait for."""
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


def suite(tmp_path: Path, text: str = SUITE) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return path


def command(tmp_path: Path, *arguments: str) -> list[str]:
    where = ["--results", str(tmp_path / "results")]
    return [sys.executable, str(ROOT / "run_all.py"), *arguments, *where]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Start a program as a user does."""
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def start(tmp_path: Path, *arguments: str) -> Process:
    """Start the command in a process that need not load torch: that takes seconds each time."""
    return forks.start(command(tmp_path, *arguments)[2:])


def call(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(tmp_path, *arguments)
    out, error = process.communicate(timeout=300)
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, error)


def records(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {
        path.parent.name: json.loads(path.read_text())
        for path in (tmp_path / "results" / "runs").glob("*/record.json")
    }


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what the clock, the company and the machine put in."""
    history = [{k: v for k, v in row.items() if k not in CLOCKED} for row in record["history"]]
    keep = ("id", "config", "result", "teacher", "weights", "measures")
    return {**{key: record[key] for key in keep}, "history": history}


def wait_for_a_checkpoint(tmp_path: Path, process: forks.Forked | subprocess.Popen[Any]) -> None:
    """Wait until an epoch that was not there before has been written down."""
    seen = stamps(tmp_path)
    until = time.monotonic() + 60
    while stamps(tmp_path) == seen and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)


def stamps(tmp_path: Path) -> set[tuple[str, int]]:
    found = set()
    for path in (tmp_path / "results").glob("runs/*/checkpoint.pt"):
        try:
            found.add((str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def children(process: forks.Forked | Process) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def is_job(pid: int) -> bool:
    return b"benchmark.job" in Path(f"/proc/{pid}/cmdline").read_bytes()
