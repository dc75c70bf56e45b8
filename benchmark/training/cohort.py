"""The loop that trains a cohort: several learners on one stream, with one teacher pass per batch.

A student's results do not depend on the other learners of its cohort. Whether it is trained alone,
in a cohort of six or resumed after a kill, it ends with the same bits on a CPU. There are four
reasons: a batch is a function of (seed, epoch, index), a learner is built from its own seed, no
step draws from a global random generator, and no learner writes into tensors that others read.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmark.data.stream import TestBatches, TrainBatches
from benchmark.evaluation.accuracy import to_lists
from benchmark.processes.distributed import LostProcessError
from benchmark.processes.interrupts import raise_if_interrupted
from benchmark.store.preprocessing import Preprocessing
from benchmark.training.learner import Learner
from benchmark.training.meters import Clock, Spans
from methods.interface import Features
from methods.registry.check import describe_error


class Cohort(NamedTuple):
    """Learners that are trained together, with their shared data and teacher."""

    learners: list[Learner]
    stream: TrainBatches
    test: TestBatches
    teacher: nn.Module | None = None
    preprocessing: Preprocessing | None = None
    """What the records of its runs say about the images."""


EpochLoop = Callable[["Sequence[Learner]", nn.Module | None, TrainBatches, int], Spans | None]
"""Trains learners for one epoch, whose number is the last argument.

It returns the times of each learner's steps, by the learner's name, and those of the teacher's
passes, by ``TEACHER``. It returns None if they cannot be measured, as within a CUDA graph.
"""
TEACHER = "the teacher"
TIMING_FIELDS = "seconds", "wall_seconds", "step_seconds", "teacher_seconds", "joules"
"""Fields of a history row that differ between two equal runs."""


def train_learners(
    learners: Sequence[Learner],
    teacher: nn.Module | None,
    stream: TrainBatches,
    test: TestBatches,
    after_epoch: Callable[[Learner], None],
    loop: EpochLoop | None = None,
    meter: Callable[[], float] | None = None,
) -> None:
    """Train every learner to its last epoch or its failure. Those that are behind catch up first.

    ``after_epoch`` is called for each learner that has finished an epoch or failed in it. ``loop``
    trains an epoch (default: ``train_epoch``). ``meter`` returns the joules that the device has
    drawn so far.
    """
    clock = Clock(stream.device)
    while active := [learner for learner in learners if learner.active]:
        epoch = min(learner.epoch for learner in active)
        turn = [learner for learner in active if learner.epoch == epoch]
        taught = [learner for learner in turn if learner.phase.reads_teacher]
        raise_if_interrupted()
        started, drawn = clock.now(), meter and meter()
        spans = (loop or train_epoch)(turn, teacher, stream, epoch)
        unread_sums: dict[Learner, Tensor] = {}
        for learner in turn:
            if learner.failure is None:
                with failing_alone(learner):
                    unread_sums[learner] = learner.measure(test)
        for learner, sums in zip(unread_sums, to_lists([*unread_sums.values()]), strict=True):
            with failing_alone(learner):
                learner.end_epoch(sums, stream.count, len(test.labels))
        work, wall = (float(time) / len(turn) for time in clock.between(started, clock.now()))
        joules = None if meter is None or drawn is None else (meter() - drawn) / len(turn)
        # Work time, not wall time: a loaded CPU does not lengthen it.
        means = {name: float(mean) for name, (mean, _) in spans.read().items()} if spans else {}
        for learner in turn:
            if learner.failure is None:
                pair = means.get(learner.name), means.get(TEACHER) if learner in taught else None
                learner.history[-1] |= zip(TIMING_FIELDS, (work, wall, *pair, joules), strict=True)
            after_epoch(learner)


def train_epoch(
    turn: Sequence[Learner], teacher: nn.Module | None, stream: TrainBatches, epoch: int
) -> Spans:
    """Train one epoch. Each batch passes through the teacher once, then through every learner."""
    spans = Spans(Clock(stream.device))
    for learner in turn:
        learner.begin_epoch(stream.steps, stream.device)
    for i, (images, labels, indices) in enumerate(stream.epoch(epoch)):
        raise_if_interrupted()
        alive = [learner for learner in turn if learner.failure is None]
        with spans.of(TEACHER):
            features = teacher_features(alive, teacher, images)
        for learner in alive:
            with failing_alone(learner), spans.of(learner.name):
                learner.step(images, features, labels, indices, i)
    return spans


def teacher_features(
    learners: Sequence[Learner], teacher: nn.Module | None, images: Tensor
) -> Features | None:
    """Return the teacher's features of a batch; None if no learner's phase reads them."""
    if teacher is None or not any(learner.phase.reads_teacher for learner in learners):
        return None
    with torch.no_grad():
        features: Features = teacher(images)
    return features


@contextmanager
def failing_alone(learner: Learner) -> Iterator[None]:
    """Turn an exception into the failure of this learner, so that its cohort goes on."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, LostProcessError):
        raise  # not this learner's fault alone: the job can make the cohort smaller
    except Exception as error:  # noqa: BLE001  (a plug-in may raise anything)
        learner.fail("error", describe_error(error, type(learner.method)), traceback.format_exc())
