"""What a finished run has cost: its record's ``cost``, operations apart."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import torch

from benchmark import models
from benchmark.config.runs import ProbeRun, Run
from benchmark.job.claimed_run import Member, Place
from benchmark.training import meters
from benchmark.training.learner import Learner


def cost_of(member: Member, place: Place, images: int) -> dict[str, Any]:
    """Add up time, energy, memory and weights; ``images``: how many an epoch trains on."""
    learner = member.learner
    seconds = sum(row["seconds"] for row in learner.history)
    # An epoch that nobody clocked, as with graphs, has None; all have the same number of steps.
    steps, teachers, joules = (
        [row[name] for row in learner.history if row.get(name) is not None]
        for name in ("step_seconds", "teacher_seconds", "joules")
    )
    whole = len(joules) == len(learner.history)
    return {
        "seconds": seconds,
        "step_seconds": fmean(steps) if steps else None,
        "teacher_seconds": fmean(teachers) if teachers else None,
        "images_per_second": images * len(learner.history) / seconds,
        "gpu_hours": seconds / 3600 * place.ranks.size if place.device.type == "cuda" else None,
        "energy_joules": sum(joules) if whole else None,
        "peak_memory_mb": meters.peak_memory_mb(),
        "peak_gpu_memory_mb": peak_gpu_memory_mb(place.device),
        "halved": member.halved,
        **sizes_of(member.run, learner),
    }


def energy_meter(place: Place) -> Callable[[], float] | None:
    """Return what tells the joules that the job's GPU has drawn; None without one, or of several.

    Of several processes this one would know its own GPU's alone.
    """
    if place.device.type != "cuda" or place.ranks.size > 1:
        return None
    return meters.energy_meter(str(torch.cuda.get_device_properties(place.device).uuid))


def peak_gpu_memory_mb(device: torch.device) -> float | None:
    """Return the most memory, in MiB, that tensors of this process have had on its GPU so far."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def sizes_of(run: Run, learner: Learner) -> dict[str, int]:
    """Count parameters: the student's, the connectors', and of what is deployed."""
    deployed = learner.method.deployed(learner.student)
    # Frozen ones too: what SimKD deploys has the teacher's classifier in it.
    whole = sum(p.numel() for p in deployed.parameters())
    if isinstance(run, ProbeRun):
        return {"parameters": whole, "connector_parameters": 0, "deployed_parameters": whole}
    return {
        "parameters": models.count_parameters(learner.student),
        "connector_parameters": models.count_parameters(learner.method),
        "deployed_parameters": whole,
    }
