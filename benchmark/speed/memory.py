"""The peak memory of a cohort: measured in a process that does nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmark.config.errors import UserError
from benchmark.config.recipe import Recipe
from benchmark.data.source import Images, Source
from benchmark.data.stream import TestImages
from benchmark.evaluation.accuracy import evaluate
from benchmark.speed.both_sides import Setting, SuiteCohort
from benchmark.speed.ratios import PairNames
from benchmark.suite.rows import Row, parse_row
from benchmark.training import meters
from benchmark.training.build import TEST_BATCH

CIFAR_SIZES = 50_000, 10_000
"""Train and test images of CIFAR."""


@dataclass(frozen=True)
class PeakMemory:
    """The most memory that a cohort has used."""

    mib: float
    of: str
    """Which cohort."""


def random_cifar_images(count: int, source: Source) -> Images:
    """Return random images with a data set's shape; times do not depend on their contents."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0, 256, (count, 3, source.size, source.size), dtype=torch.uint8, generator=random
    )
    return Images(pixels, torch.arange(count) % source.classes)


def parse_method_label(label: str) -> Row:
    """Read a method's specification, like `kd` or `ab@crd`. Raises ``UserError``."""
    entry, problems = parse_row(label, None)
    if entry is None:
        raise UserError(f"--methods {label}: {problems[0].message}")
    return entry


def peak_memory_mib(
    pair: PairNames, labels: Sequence[str], batch_size: int, device: str, count: int
) -> float:
    """Train a cohort for a step and evaluate a batch; return the peak memory in MiB.

    This is the GPU's memory on a GPU, else the process's. A method's initial phases train beside
    its main phase, so the peak is rather too high. ``count``: train images in memory.
    """
    from benchmark.data.sets.cifar import CIFAR100

    where = torch.device(device)
    recipe = Recipe(epochs=240, batch_size=batch_size, lr=0.05)
    setting = Setting(CIFAR100, random_cifar_images(count, CIFAR100), recipe, where, 1)
    entries = [parse_method_label(label) for label in labels]
    cohort = SuiteCohort(setting, setting.stream(), pair, entries)
    cohort.measure()
    test_images = random_cifar_images(count // 5, CIFAR100)
    evaluate(
        cohort.learners[0].student,
        TestImages(test_images.first(TEST_BATCH), CIFAR100, where, TEST_BATCH),
    )
    if where.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return meters.peak_memory_mb()
