"""How long whole trainings take: a pair's methods and scratch in one cohort, as jobs train them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.data.stream import TestImages
from benchmark.speed import epochs
from benchmark.speed.both_sides import Setting
from benchmark.speed.memory import CIFAR_SIZES, random_cifar_images
from benchmark.speed.ratios import PairNames
from benchmark.suite.rows import Row
from benchmark.training.build import test_batch_size
from benchmark.training.numerics import PROFILES

CRD_PAIRS = (
    PairNames("wrn_40_2", "wrn_16_2"),
    PairNames("wrn_40_2", "wrn_40_1"),
    PairNames("resnet56", "resnet20"),
    PairNames("resnet110", "resnet20"),
    PairNames("resnet110", "resnet32"),
    PairNames("resnet32x4", "resnet8x4"),
    PairNames("vgg13", "vgg8"),
)
"""The CRD benchmark's pairs whose networks are of the same family."""
CRD_SEEDS = 3
"""Seeds per pair that the goal for this table assumes."""


@dataclass(frozen=True)
class TrainingTime:
    """The times of one cohort in one numerics profile."""

    pair: PairNames
    numerics: str
    runs: int
    epochs: int
    """Of the longest run, all phases."""
    step: float
    """Seconds of a full batch for all runs, each in its main phase."""
    evaluation: float
    """Seconds of evaluating all runs after an epoch."""
    refused: str = ""
    """Why steps were not captured as CUDA graphs; empty if they were."""

    def seconds(self, steps: float) -> float:
        """Compute the seconds of the training, every epoch with all runs in their main phases.

        ``steps``: full batches in an epoch.
        """
        return self.epochs * (steps * self.step + self.evaluation)


def measure_trainings(
    setting: Setting, pair: PairNames, entries: Sequence[Row]
) -> Iterator[TrainingTime]:
    """Time epochs and evaluations of one cohort by CUDA graphs, in every numerics profile.

    Raises ``UserError`` if a learner fails.
    """
    stream = setting.short_stream(epochs.EPOCH_BATCHES)
    test_count = len(setting.images.labels) * CIFAR_SIZES[1] // CIFAR_SIZES[0]
    batch = test_batch_size(setting.source.size, setting.device)
    for numerics in PROFILES:
        side = epochs.SuiteSide(setting, stream, pair, entries, numerics, epochs.LOOPS["graphs"])
        images = random_cifar_images(test_count, setting.source)
        test = TestImages(images, setting.source, setting.device, batch)
        side.warm_up(epochs.DISCARDED)
        side.time_evaluation(test)
        times = [(side.time(), side.time_evaluation(test)) for _ in range(epochs.EPOCH_ROUNDS)]
        step, evaluation = map(float, np.median(times, axis=0))
        longest = max(learner.epochs for learner in side.learners)
        count = len(entries)
        yield TrainingTime(pair, numerics, count, longest, step, evaluation, side.refused)


def crd_table_seconds(
    trainings: Sequence[TrainingTime], numerics: str, steps: float
) -> float | None:
    """Return the seconds of all ``CRD_PAIRS`` with all seeds; None if a pair was not timed."""
    known = {one.pair: one for one in trainings if one.numerics == numerics}
    if not known.keys() >= set(CRD_PAIRS):
        return None
    return CRD_SEEDS * sum(known[pair].seconds(steps) for pair in CRD_PAIRS)
