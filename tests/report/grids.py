"""Manifests and run folders as the suite writes them, for the tests of the report."""

import json
import math
from pathlib import Path
from typing import Any

METHODS = ["scratch", "kd", "fitnets", "at", "fsp", "ab"]
FIELD = [
    *METHODS,
    *("fitnets@crd", "fsp@crd", "ab@crd", "nkd", "dkd", "ls", "dist", "wttm", "ctkd", "sp", "cc"),
    *("rkd", "pkt", "crd", "vid", "nst", "ft", "ofd", "reviewkd", "simkd", "mgd", "at+kd"),
    *("kd untaught", "at untaught"),
]
INITIALISING = {"fitnets": "hint", "fsp": "fsp", "ab": "boundary"}
PUBLISHED_ROWS = ["scratch", "kd", "ab@crd"]
PAIRS = [
    ("resnet32x4", "resnet8x4"),
    ("resnet56", "resnet20"),
    ("resnet110", "resnet20"),
    ("resnet110", "resnet32"),
    ("wrn_40_2", "wrn_16_2"),
    ("wrn_40_2", "wrn_40_1"),
]


def manifest(
    methods: list[str] = METHODS,
    pairs: list[tuple[str, str]] = PAIRS[1:2],
    seeds: list[int] | None = None,
    inapplicable: dict[tuple[int, str], str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return a manifest with run ids `<column>-<method>-s<seed>` and `<column>-teacher`."""
    seeds = [0, 1, 2] if seeds is None else seeds
    reasons = inapplicable or {}
    columns = [
        {"dataset": "digits", "teacher": t, "student": s, "teacher_run": f"{i}-teacher"}
        for i, (t, s) in enumerate(pairs)
    ]
    cells = [
        {
            "column": column,
            "method": method,
            "seed": seed,
            "run": None if (column, method) in reasons else run_id(column, method, seed),
            "reason": reasons.get((column, method)),
        }
        for column in range(len(pairs))
        for method in methods
        for seed in seeds
    ]
    made = {"schema": 1, "suite": "small", "title": "A small grid", "digest": "0123456789"}
    made |= {"code": "c0de", "dataset": "digits", "dataset_limit": None, "init_epochs": "inside"}
    made |= {"epochs": 20, "methods": methods, "columns": columns, "seeds": seeds, "cells": cells}
    return made | {"runs": {}} | changes


def run_id(column: int, method: str, seed: int) -> str:
    """Return the id of a run: a safe folder name for any name of a method."""
    safe = "".join(c if c.isascii() and c.isalnum() else f"{ord(c):x}" for c in method)
    return f"{column}-{safe}-s{seed}"


def finish(
    runs: Path,
    run: str,
    top1: float,
    method: str = "kd",
    epochs: int = 20,
    drops: tuple[int, ...] = (),
    config: dict[str, Any] | None = None,
) -> None:
    """Write the record of a run that ends at `top1` percent; the lr drops tenfold after `drops`.

    ``config`` must be given where the run's id ends with the hash of one.
    """
    start = epochs // 4 if method in INITIALISING else 0
    history = []
    for epoch in range(1, epochs + 1):
        risen = 1 - math.exp(-5 * max(0, epoch - start) / (epochs - start))
        value = top1 if epoch == epochs else 10 + (top1 - 10.2) * risen
        phase = INITIALISING[method] if epoch <= start else "distill"
        history.append(
            {"epoch": epoch, "phase": phase, "losses": losses(method, phase, epoch)}
            | {"lr": 0.05 * 0.1 ** sum(epoch > drop for drop in drops)}
            | {"top1": value, "top5": 99.0, "test_loss": 2.3 / epoch, "seconds": 1.2}
        )
    made = record(run, top1, history)
    made["cost"] |= cost(method)
    made["measures"] = measures(method, top1)
    made["config"] = config or made["config"]
    put(runs, run, "record.json", made)


def losses(method: str, phase: str, epoch: int) -> dict[str, float]:
    """Return decreasing loss terms; every method but scratch has one of its own."""
    own = {} if method == "scratch" else {method: 4 / epoch}
    return own if phase in INITIALISING.values() else {"ce": 1 / epoch} | own


def cost(method: str) -> dict[str, Any]:
    """Return the cost of a run of a method."""
    own, taught = 0.020 + 0.002 * (len(method) % 19), method != "scratch"
    made: dict[str, Any] = {
        "step_seconds": own,
        "images_per_second": 64 / own,
    }
    made |= {"teacher_seconds": 0.03 if taught else None, "gpu_hours": None, "energy_joules": None}
    made |= {"flops": 82_000_000, "deployed_flops": 82_000_000}
    return made | {"connector_flops": 1_000_000 if taught else 0}


def measures(method: str, top1: float) -> dict[str, Any]:
    """Return the measures of a finished run of a method."""
    wrong = 100 - top1
    scaled = {"ece": 1.1, "nll": 0.2 + wrong / 100, "brier": 2.1 * wrong / 100}
    sharp = {"ece": 4.0 + wrong / 10, "nll": 0.3 + wrong / 100, "brier": 2.3 * wrong / 100}
    made: dict[str, Any] = {"calibration": sharp | {"temperature": 1.4, "scaled": scaled}}
    made |= {"fidelity": None, "cka": None}
    if method != "scratch":
        places = ("stem", "stage 1", "stage 2", "stage 3", "embedding")
        made["fidelity"] = {
            "agreement": 80.0 + len(method) % 19,
            "kl": 0.4 - len(method) % 19 / 100,
        }
        made["fidelity"]["error_agreement"] = 30.0 + len(method) % 19
        made["cka"] = {place: 0.95 - 0.1 * i for i, place in enumerate(places)}
    return made


def record(run: str, top1: float, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a complete record of schema 1."""
    return {
        "schema": 1,
        "id": run,
        "kind": "train",
        "config": {"dataset": {"name": "digits"}, "student": "resnet8", "protocol": 1},
        "result": {"top1": top1, "top5": 99.9, "test_loss": 0.1, "epoch": len(history)},
        "history": history,
        "teacher": None,
        "weights": {"sha256": "00"},
        "cost": {"seconds": 1.0, "peak_memory_mb": 1.0, "parameters": 1},
        "environment": {"commit": "abc", "dirty": False, "torch": "2.15"},
        "started": "2026-11-22T20:27:00+00:00",
        "finished": "2026-11-22T20:28:00+00:00",
    }


def fail(runs: Path, run: str, message: str) -> None:
    """Write the failure of a run."""
    failure = {"schema": 1, "id": run, "kind": "non-finite", "message": message}
    failure |= {"traceback": None, "epoch": 3, "phase": "hint", "when": "2026-11-22T20:27:00Z"}
    put(runs, run, "failure.json", failure)


def put(runs: Path, run: str, name: str, content: dict[str, Any]) -> None:
    """Write one file of a run's folder."""
    (runs / run).mkdir(parents=True, exist_ok=True)
    (runs / run / name).write_text(json.dumps(content))


def finish_all(runs: Path, grid: dict[str, Any]) -> None:
    """Write the records of all runs of a grid, with accuracies as in a published table."""
    gain = {"scratch": 0.0, "kd": 1.55, "fitnets": 0.15, "at": 0.6, "fsp": 0.3, "ab": 0.9}
    for i, column in enumerate(grid["columns"]):
        finish(runs, column["teacher_run"], 95.2 + 0.4 * i, "scratch", grid["epochs"])
        for cell in grid["cells"]:
            if cell["column"] == i and cell["run"]:
                wobble = 0.35 * math.sin(7 * cell["seed"] + 3 * len(cell["method"]) + i)
                top1 = 92.1 + 0.5 * i + gain.get(cell["method"], 0.5) + wobble
                finish(runs, cell["run"], round(top1, 2), cell["method"], grid["epochs"])


def crd_grid(**changes: Any) -> dict[str, Any]:
    """Return a manifest of one pair of CRD with all fields that published values are matched by."""
    grid = manifest(PUBLISHED_ROWS, [("wrn_40_2", "wrn_16_2")], dataset="cifar100", **changes)
    run = {"dataset": {"name": "cifar100", "limit": None}, "protocol": 1}
    grid["columns"][0]["dataset"] = "cifar100"
    grid["runs"] = {cell["run"]: run for cell in grid["cells"]}
    return {"as_published": {row: row for row in PUBLISHED_ROWS}, **grid}
