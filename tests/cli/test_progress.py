"""The progress display shows the status of every run."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.progress import ProgressDisplay, format_duration
from benchmark.store.claim import claim_run
from benchmark.store.folder import Store
from tests.config.example_runs import TEACHER, by_id, student
from tests.report.grids import record

RUNS = by_id(TEACHER, *(student(method, seed) for method in ("kd", "at") for seed in (0, 1)))
KD0, KD1, AT0, AT1 = list(RUNS)[1:]
COLUMN = {"teacher": "resnet20", "student": "resnet8", "teacher_run": TEACHER.id}


def manifest(seeds: int = 2) -> dict[str, object]:
    cells = [
        {"column": 0, "method": method, "seed": seed, "run": run}
        for method, runs in (("kd", (KD0, KD1)), ("at", (AT0, AT1)), ("fsp", (None, None)))
        for seed, run in enumerate(runs)
    ]
    return {
        "title": "A grid",
        "columns": [COLUMN],
        "seeds": list(range(seeds)),
        "methods": ["kd", "at", "fsp"],
        "cells": cells,
        "runs": {run_id: run.as_json() for run_id, run in RUNS.items()},
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The teacher and kd's seed 0 are done, its seed 1 is half way, at's seed 0 has failed."""
    store = Store(tmp_path)
    for run in RUNS.values():
        store.run(run.id).write_config(run.as_json())
    for run_id, top1 in ((TEACHER.id, 99.0), (KD0, 97.5)):
        content = record(run_id, top1, []) | {"config": RUNS[run_id].as_json()}
        store.run(run_id).write_record(content)
    held = claim_run(store.run(KD1).path)
    assert held is not None
    held.beat({"epoch": 120, "epochs": 240, "phase": "distill", "top1": 50.0})
    store.run(AT0).write_failure("error", "it broke")
    return store


STATUSES = dict(zip(RUNS, ("done", "done", "running", "failed", "ready"), strict=True))


def printed(store: Store, terminal: bool, width: int = 100, seeds: int = 2) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    display = ProgressDisplay(manifest(seeds), list(RUNS), store, console)
    display.print(STATUSES)  # type: ignore[arg-type]
    return file.getvalue()


def row(text: str, name: str) -> list[str]:
    [line] = [line for line in text.splitlines() if f" {name} " in line]
    return [cell.strip() for cell in line.strip("│┃").split("│")]


def test_a_cell_shows_result_progress_or_status(store):
    text = printed(store, terminal=True)
    assert row(text, "teacher")[1] == "99.00"
    assert row(text, "kd")[1:] == ["97.50", "120/240 distill"]
    assert row(text, "at")[1:] == ["failed", "ready"]
    assert row(text, "fsp")[1:] == ["–", "–"]
    assert "2 done, 1 failed, 1 ready, 1 running" in text


def test_with_many_columns_a_cell_has_all_seeds(store):
    assert row(printed(store, terminal=True, seeds=7), "kd")[1] == "1/2 50%"
    assert row(printed(store, terminal=True, seeds=7), "at")[1] == "0/2 1 failed"


def test_a_log_gets_a_plain_line_for_each_run_that_has_ended(store):
    file = io.StringIO()
    display = ProgressDisplay(manifest(), list(RUNS), store, Console(file=file, width=40))
    display.update(STATUSES | {KD0: "running"})  # type: ignore[arg-type]
    display.update(STATUSES)  # type: ignore[arg-type]
    display.update(STATUSES)  # type: ignore[arg-type]
    lines = file.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].split("  ")[1].startswith("1/5 runs done, 2 running, 1 failed, 0:00 elapsed")
    assert lines[1].split("  ")[1:] == [KD0, "done", "top-1 97.50"]
    assert "\x1b" not in file.getvalue()


def test_durations_are_minutes_and_seconds_or_hours_too():
    assert [format_duration(s) for s in (0, 65, 3599.6, 7205)] == [
        "0:00",
        "1:05",
        "1:00:00",
        "2:00:05",
    ]
