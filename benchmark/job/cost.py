"""The cost of a finished run: time, energy, memory, parameters."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import torch

from benchmark import models
from benchmark.config.runs import ProbeRun, Run
from benchmark.job.claimed_run import ClaimedRun, JobContext
from benchmark.job.final_evaluation import Operations
from benchmark.store.record import Cost
from benchmark.training import meters
from benchmark.training.learner import Learner


def measure_cost(
    claimed: ClaimedRun, context: JobContext, images: int, operations: Operations
) -> Cost:
    """Return the cost of a finished run; ``images`` is the number of training images per epoch."""
    learner, device = claimed.learner, context.device
    history = learner.history
    seconds = sum(row["seconds"] for row in history)
    wall, joules = _known(history, "wall_seconds"), _known(history, "joules")
    return Cost(
        seconds=seconds,
        wall_seconds=sum(wall) if len(wall) == len(history) else None,
        step_seconds=_mean(_known(history, "step_seconds")),
        teacher_seconds=_mean(_known(history, "teacher_seconds")),
        images_per_second=images * len(history) / seconds,
        gpu_hours=seconds / 3600 * context.ranks.size if device.type == "cuda" else None,
        energy_joules=sum(joules) if len(joules) == len(history) else None,
        peak_memory_mb=meters.peak_memory_mb(),
        peak_gpu_memory_mb=peak_gpu_memory_mb(device),
        halved=claimed.halved,
        **count_all_parameters(claimed.run, learner),
        **operations._asdict(),
    )


def open_energy_meter(context: JobContext) -> Callable[[], float] | None:
    """Return a function that gives the joules that the job's GPU has used.

    None without a GPU, and in a job of several processes: each would know only its own GPU.
    """
    if context.device.type != "cuda" or context.ranks.size > 1:
        return None
    return meters.gpu_energy_meter(str(torch.cuda.get_device_properties(context.device).uuid))


def peak_gpu_memory_mb(device: torch.device) -> float | None:
    """Return the peak memory of this process's tensors on its GPU in MiB; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def count_all_parameters(run: Run, learner: Learner) -> dict[str, int]:
    """Return the parameter counts of the student, its connectors and the deployed network."""
    deployed_network = learner.method.deployed(learner.student)
    # Frozen ones count too: SimKD deploys the teacher's classifier.
    deployed = sum(p.numel() for p in deployed_network.parameters())
    if isinstance(run, ProbeRun):
        return {"parameters": deployed, "connector_parameters": 0, "deployed_parameters": deployed}
    return {
        "parameters": models.count_parameters(learner.student),
        "connector_parameters": models.count_parameters(learner.method),
        "deployed_parameters": deployed,
    }


def _known(history: list[dict[str, Any]], name: str) -> list[float]:
    """Return the values of the epochs that have one.

    With CUDA graphs an epoch may be untimed; its value is None. All epochs have equally many steps.
    """
    return [row[name] for row in history if row.get(name) is not None]


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
