"""Why there is no number yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.store.claim import read_claim
from benchmark.store.folder import RunFolder

NEEDS = ("teacher", "backbone")


def why(folder: Path | None, config: Mapping[str, Any], runs: Path) -> str:
    """What a run that has neither record nor failure is waiting for, or how far it is."""
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
        return "stopped on the way; goes on from its checkpoint"
    for need in (config[key] for key in NEEDS if isinstance(config.get(key), str)):
        state = RunFolder(runs / need).state()
        if state != "done":
            return f"waits for {need}, which {_STANDS[state]}"
    return "not begun"


_STANDS = {"running": "is running", "failed": "has failed", "waiting": "has not been done"}
