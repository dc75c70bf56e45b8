"""Why a run has no result yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.config.runs import REFERENCE_FIELDS
from benchmark.store.claim import read_claim
from benchmark.store.folder import RunFolder


def reason_without_result(folder: Path | None, config: Mapping[str, Any], runs: Path) -> str:
    """Return what a run is waiting for, or its progress if it is running.

    `folder` is the run's folder, None if the grid has no such run. The run has neither a record
    nor a failure. `config` is its configuration; `runs` is the folder of all run folders.
    """
    if folder is None:
        return "not in the grid"
    run = RunFolder(folder)
    if run.state() == "running":
        holder = read_claim(folder)
        progress = holder.progress if holder else {}
        if {"epoch", "epochs", "phase"} <= progress.keys():
            return "running: epoch {epoch} of {epochs}, phase {phase}".format(**progress)
        return "running: starting"
    if run.checkpoint.exists():
        return "interrupted; it will continue from its checkpoint"
    for need in (config[key] for key in REFERENCE_FIELDS if isinstance(config.get(key), str)):
        state = RunFolder(runs / need).state()
        if state != "done":
            return f"waits for {need}, which {_STATE_PHRASES[state]}"
    return "not started"


_STATE_PHRASES = {"running": "is running", "failed": "has failed", "waiting": "is not done yet"}
