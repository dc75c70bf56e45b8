"""Read a machine file of `configs/machines/`: where jobs run. No part of it enters a run's id."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from benchmark.config.document import load_document
from benchmark.config.errors import Problem
from benchmark.config.recipe import Positive
from benchmark.config.validation import StrictModel, validate


class Paths(NamedTuple):
    """Folders and files that a job reads or writes."""

    results: Path
    data: Path
    plugins: tuple[str, ...] = ()
    """Python files with additional methods."""


class Machine(StrictModel):
    """A machine file: how jobs are started and how many run at once."""

    launcher: Literal["local", "slurm", "submitit-local"]
    """`local`: jobs on this machine; `slurm`: in the queue of a cluster; `submitit-local`:
    submitit's local executor, to try the Slurm path without Slurm."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: cuda if there is a GPU, else cpu."""
    workers: Positive | Literal["auto"] = "auto"
    """The largest number of jobs at once. `auto`: as many as the devices allow."""
    processes: Positive = 1
    """Processes that train one job together. On a cluster this is nodes x tasks_per_node of
    `sbatch`."""
    per_device: Positive = 1
    """Jobs at once on each GPU. With several processes a job: on each group of GPUs."""
    largest: Positive = 8
    """The largest number of runs in a cohort."""
    sbatch: dict[str, Any] = Field(default_factory=dict)
    """Settings for submitit, under submitit's names."""

    @classmethod
    def read(cls, path: Path) -> Machine:
        """Read a machine file. Raises UserError that lists everything wrong with it."""
        document = load_document(path)
        machine, problems = validate(cls, document.data)
        if machine is not None and machine.launcher == "slurm" and machine.workers == "auto":
            problems.append(Problem(("workers",), "launcher: slurm needs a number, not auto"))
        if machine is not None and machine.launcher != "local" and machine.per_device > 1:
            problems.append(Problem(("per_device",), "works with launcher: local only"))
        if machine is None or problems:
            document.fail(problems)
        return machine
