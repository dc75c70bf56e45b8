"""A file in `configs/machines/`: where jobs run. No part of it is in a run's identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from benchmark.config.document import load
from benchmark.config.errors import Problem
from benchmark.config.recipe import Positive
from benchmark.config.validation import Strict, check


class Paths(NamedTuple):
    """Where things lie."""

    results: Path
    data: Path
    plugins: tuple[str, ...] = ()


class Machine(Strict):
    """Where and how wide to run."""

    launcher: Literal["local", "slurm", "submitit-local"]
    """submitit-local: submitit's own local executor, to try the Slurm way without a Slurm."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: Positive | Literal["auto"] = "auto"
    """Jobs at once, at most."""
    processes: Positive = 1
    """Processes that train one job together; on a cluster nodes x tasks_per_node, in sbatch."""
    per_device: Positive = 1
    """Jobs at once on each GPU, or group of as many as a job has processes."""
    largest: Positive = 8
    """Learners in one cohort, at most."""
    sbatch: dict[str, Any] = Field(default_factory=dict)
    """What submitit is told, by its names."""

    @classmethod
    def read(cls, path: Path) -> Machine:
        """Read a machine file; all that is wrong with it is one ``UserError``."""
        document = load(path)
        machine, problems = check(cls, document.data)
        if machine is not None and machine.launcher == "slurm" and machine.workers == "auto":
            problems.append(Problem(("workers",), "a cluster needs a number of jobs"))
        if machine is not None and machine.launcher != "local" and machine.per_device > 1:
            problems.append(Problem(("per_device",), "is for launcher: local"))
        if machine is None or problems:
            document.fail(problems)
        return machine
