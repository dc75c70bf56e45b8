"""A suite's jobs done one after the other in this process: all real but the launching."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from benchmark.config.document import load_document
from benchmark.config.runs import needed_ids
from benchmark.job import __main__ as job
from benchmark.job.claimed_run import JobContext, claim_runs
from benchmark.job.file import Job
from benchmark.launch.schedule import next_cohort
from benchmark.launch.status import folder_statuses
from benchmark.store.folder import Store
from benchmark.suite.grid import SuiteGrid, expand_suite


def grid(tmp_path: Path, text: str, root: Path | None = None) -> SuiteGrid:
    """Expand the text of a suite file."""
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    return expand_suite(load_document(path), "suite", root or tmp_path)


def perform(made: SuiteGrid, results: Path, root: Path | None = None) -> Store:
    """Do every run, cohort by cohort."""
    store, runs = Store(results), made.runs()
    waited_for = needed_ids(runs.values())
    for run in runs.values():
        store.run(run.id).write_config(run.as_json())
    while True:
        found = folder_statuses(runs, store)
        ready = [run for run_id, run in runs.items() if found[run_id] == "ready"]
        if not ready:
            return store
        cohort = [run.id for run in next_cohort(ready, waited_for, 1, 8)]
        do(cohort, store, results, root or results)


def do(run_ids: list[str], store: Store, results: Path, root: Path) -> None:
    """Do one job."""
    asked = Job(runs=run_ids, results=str(results), data=str(root), device="cpu")
    context = JobContext(asked, store, torch.device("cpu"))
    with contextlib.ExitStack() as stack:
        job.train_claimed_runs(list(claim_runs(asked, store, stack)), context)
