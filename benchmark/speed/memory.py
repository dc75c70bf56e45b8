"""How much memory a cohort of six takes: measured in a process that does nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmark.config.errors import UserError
from benchmark.config.recipe import Recipe
from benchmark.data.source import Images, Source
from benchmark.data.stream import TestImages
from benchmark.evaluation.accuracy import evaluate
from benchmark.speed.both_sides import Cohort, Scene
from benchmark.suite.rows import Entry, read
from benchmark.training import meters
from benchmark.training.build import TEST_BATCH

SIZES = 50_000, 10_000
"""Train and test images of CIFAR."""


def noise(count: int, source: Source) -> Images:
    """Make images of a data set's shape; time does not depend on what is in them."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0, 256, (count, 3, source.size, source.size), dtype=torch.uint8, generator=random
    )
    return Images(pixels, torch.arange(count) % source.classes)


def entry_of(label: str) -> Entry:
    """Read a method's specification. Raises ``UserError``."""
    entry, problems = read(label, None)
    if entry is None:
        raise UserError(f"--methods {label}: {problems[0].message}")
    return entry


def peak(
    teacher: str, student: str, labels: Sequence[str], batch_size: int, device: str, count: int
) -> float:
    """Train a cohort for a step, evaluate a batch; return the most MiB there were.

    On a GPU, of its memory, else of the process's. Phases before the last train beside it.
    """
    from benchmark.data.sets.cifar import CIFAR100

    where = torch.device(device)
    recipe = Recipe(epochs=240, batch_size=batch_size, lr=0.05)
    scene = Scene(CIFAR100, noise(count, CIFAR100), recipe, where, 1)
    cohort = Cohort(scene, scene.stream(), teacher, student, [entry_of(x) for x in labels])
    cohort.measure()
    resident = noise(count // 5, CIFAR100)
    evaluate(
        cohort.learners[0].student,
        TestImages(resident.first(TEST_BATCH), CIFAR100, where, TEST_BATCH),
    )
    if where.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return meters.peak_memory_mb()
