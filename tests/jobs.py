"""A suite's jobs done one after the other in this process: all real but the launching."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from benchmark import job
from benchmark.config import load
from benchmark.grid import Grid, expand
from benchmark.member import Place, take
from benchmark.plan import Job, needs_of, next_cohort, statuses
from benchmark.store import Store


def grid(tmp_path: Path, text: str, root: Path | None = None) -> Grid:
    """Expand the text of a suite file."""
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    return expand(load(path), "suite", root or tmp_path)


def perform(made: Grid, results: Path, root: Path | None = None) -> Store:
    """Do every run, cohort by cohort."""
    store, runs = Store(results), made.runs()
    waited_for = needs_of(runs.values())
    for run in runs.values():
        store.run(run.id).write_config(run.as_json())
    while True:
        found = statuses(runs, store)
        ready = [run for run_id, run in runs.items() if found[run_id] == "ready"]
        if not ready:
            return store
        cohort = [run.id for run in next_cohort(ready, waited_for, 1, 8)]
        do(cohort, store, results, root or results)


def do(run_ids: list[str], store: Store, results: Path, root: Path) -> None:
    """Do one job."""
    asked = Job(runs=run_ids, results=str(results), data=str(root), device="cpu")
    with contextlib.ExitStack() as held:
        job.train_members(list(take(asked, store, held)), Place(asked, store, torch.device("cpu")))
