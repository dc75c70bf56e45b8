"""What a checkpoint holds beside the learner, and what must be as it was when a run goes on."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

import torch

import methods
from benchmark.config.errors import UserError
from benchmark.config.runs import Run, TrainRun
from benchmark.job.claimed_run import ClaimedRun, JobContext, log_line
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.environment import describe_environment
from benchmark.store.record import Environment
from benchmark.training.numerics import autocast_dtype

T = TypeVar("T")


def load_checkpoint_state(claimed: ClaimedRun) -> dict[str, Any] | None:
    """Return the content of the run's newest intact checkpoint; None where there is none."""
    try:
        checkpoint = claimed.folder.load_checkpoint()
    except DamagedFileError as damage:
        log_line(f"{damage}; {claimed.run.id} starts from the beginning")
        checkpoint = None
    if checkpoint is None:
        return None
    if checkpoint.note is not None:
        log_line(f"{claimed.run.id} {checkpoint.note}")
    state: dict[str, Any] = torch.load(
        io.BytesIO(checkpoint.payload), map_location="cpu", weights_only=True
    )
    return state


def checkpoint_state(claimed: ClaimedRun, context: JobContext) -> dict[str, Any]:
    """Return all that the run needs to go on, and what it must go on with."""
    return {
        "started": claimed.started,
        "learner": claimed.learner.state(),
        "plugins": plugins_of(claimed.run),
        "processes": context.ranks.size,
        "environments": [asdict(e) for e in environments_of(claimed, context)],
    }


def resume(claimed: ClaimedRun, state: Mapping[str, Any], processes: int) -> None:
    """Load a checkpoint's state into the run's learner. Older checkpoints have fewer fields.

    Raises UserError where other code or another number of processes wrote it: the rest of the run
    would not be what its first epochs are.
    """
    path = claimed.folder.checkpoint
    remedy = f"or remove {path.parent / 'checkpoint*.pt'} to train it from the beginning"
    plugins = plugins_of(claimed.run)
    written_with = state.get("plugins", plugins)
    if set(written_with.values()) != set(plugins.values()):
        names = ", ".join({**written_with, **plugins})
        raise UserError(
            f"{path}: the plug-in {names} has changed since this run was interrupted. Raise "
            f"the `version` of its method, which starts a new run; or undo the change; {remedy}."
        )
    if (before := state.get("processes", processes)) != processes:
        raise UserError(
            f"{path}: was written by a job of {before} processes, and this job has {processes}. "
            "They add numbers in another order, so the results would be of neither. Go on with "
            f"{before}, {remedy}."
        )
    claimed.started = state["started"]
    claimed.earlier = [
        known_fields(Environment, values) for values in state.get("environments", ())
    ]
    claimed.learner.load_state(state["learner"])


def plugins_of(run: Run) -> dict[str, str]:
    """Return the sha256 of the source of each plug-in that a run's method needs, by file name."""
    return methods.plugin_sources(run.method.name) if isinstance(run, TrainRun) else {}


def environments_of(claimed: ClaimedRun, context: JobContext) -> list[Environment]:
    """Return the environments in which a run was trained, each once, this process's last."""
    current = environment_of(claimed.run, context)
    return [*(e for e in dict.fromkeys(claimed.earlier) if e != current), current]


def environment_of(run: Run, context: JobContext) -> Environment:
    """Return what a record says of this process."""
    return Environment(
        **describe_environment_once(str(context.device), torch.get_num_threads()),
        processes=context.ranks.size,
        autocast=autocast_name(run, context),
    )


@functools.cache
def describe_environment_once(device: str, threads: int) -> dict[str, Any]:
    """Return what ``describe_environment`` does, asking git once in a job."""
    return describe_environment(device, threads)


def autocast_name(run: Run, context: JobContext) -> str | None:
    """Return the data type that networks computed in where it was not float32, as `bfloat16`.

    A numerics profile leaves this to the device, so the configuration does not say it.
    """
    dtype = autocast_dtype(run.numerics, context.device)
    return None if dtype is None else str(dtype).removeprefix("torch.")


def known_fields(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return a dataclass from a mapping of another version, without the fields it does not have."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})
