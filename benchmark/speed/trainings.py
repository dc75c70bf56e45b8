"""How long whole trainings take: cohorts of a pair's methods and scratch, as jobs train them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.data.stream import TestImages
from benchmark.speed.both_sides import Scene
from benchmark.speed.epochs import BATCHES, DISCARDED, ROUNDS, Make, Suite, short
from benchmark.speed.memory import SIZES, noise
from benchmark.suite.rows import Entry
from benchmark.training.build import test_batch
from benchmark.training.numerics import PROFILES

TABLE = (
    ("wrn_40_2", "wrn_16_2"),
    ("wrn_40_2", "wrn_40_1"),
    ("resnet56", "resnet20"),
    ("resnet110", "resnet20"),
    ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"),
    ("vgg13", "vgg8"),
)
"""The CRD benchmark's pairs of one family."""
SEEDS = 3
"""Of that table."""


class Training(NamedTuple):
    """Of one cohort in one profile."""

    teacher: str
    student: str
    numerics: str
    runs: int
    epochs: int
    """Of the longest member, all phases."""
    step: float
    """Seconds of a full batch for all of them, in their main phases."""
    evaluation: float
    """Seconds of measuring all of them, after an epoch."""
    refused: str = ""
    """Why steps were not captured, where they were not."""

    @property
    def name(self) -> str:
        """The pair, as it is said."""
        return f"{self.teacher} -> {self.student}"

    def seconds(self, steps: float) -> float:
        """Compute the whole: so many steps an epoch, every epoch as one of main phases."""
        return self.epochs * (steps * self.step + self.evaluation)


def measure(
    scene: Scene,
    pair: tuple[str, str],
    entries: Sequence[Entry],
    make: Make,
    rounds: int = ROUNDS,
    discarded: int = DISCARDED,
    batches: int = BATCHES,
) -> Iterator[Training]:
    """Time epochs and evaluations of one cohort in every profile. Raises ``UserError``."""
    stream = short(scene, batches)
    count = len(scene.images.labels) * SIZES[1] // SIZES[0]
    size = scene.source.size
    for numerics in PROFILES:
        side = Suite(scene, stream, pair, entries, numerics, make)
        batch = test_batch(size, scene.device)
        test = TestImages(noise(count, scene.source), scene.source, scene.device, batch)
        side.warm_up(discarded)
        side.evaluation(test)
        found = [(side.time(), side.evaluation(test)) for _ in range(rounds)]
        step, evaluation = np.median(found, axis=0)
        epochs = max(one.epochs for one in side.learners)
        said = "; ".join(side.said)
        yield Training(*pair, numerics, len(entries), epochs, float(step), float(evaluation), said)


def whole_table(trainings: Sequence[Training], numerics: str, steps: float) -> float | None:
    """Return the seconds of the CRD table's cohorts, all seeds; None where some are not known."""
    known = {(one.teacher, one.student): one for one in trainings if one.numerics == numerics}
    if not known.keys() >= set(TABLE):
        return None
    return SEEDS * sum(known[pair].seconds(steps) for pair in TABLE)
