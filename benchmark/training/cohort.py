"""Learners, and the loop that trains a cohort of them on one stream with one teacher pass.

The law of the cohort: a student's numbers do not depend on its company. Alone, in a cohort of six
or resumed after a kill, on a CPU it ends with the same bits, because the batch is a function of
(seed, epoch, index), a learner is built under its own seed, nothing in a step draws from a global
generator and nothing writes into what learners share.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmark.data.stream import Batches, Tests
from benchmark.evaluation.accuracy import read
from benchmark.processes.distributed import PartedError
from benchmark.training.learner import Learner
from benchmark.training.meters import Clock, Spans
from methods.interface import Features
from methods.registry.check import blame


class Cast(NamedTuple):
    """All that a cohort is made of."""

    learners: list[Learner]
    stream: Batches
    test: Tests
    teacher: nn.Module | None = None


Loop = Callable[["Sequence[Learner]", nn.Module | None, Batches, int], Spans | None]
"""Trains learners for an epoch, whose number is the last argument.

It returns what each learner's steps took, by name, and the ``TEACHER``'s passes; None where nobody
can tell, as within a CUDA graph.
"""
TEACHER = "the teacher"
CLOCKED = "seconds", "step_seconds", "teacher_seconds", "joules"
"""What of a history's rows two equal runs have each of its own."""


def train(
    learners: Sequence[Learner],
    teacher: nn.Module | None,
    stream: Batches,
    test: Tests,
    after_epoch: Callable[[Learner], None],
    loop: Loop | None = None,
    meter: Callable[[], float] | None = None,
) -> None:
    """Train every learner to its end or its failure. Those behind catch up first.

    ``after_epoch`` is called for each learner that has finished an epoch or failed in it; ``loop``
    trains an epoch, ``train_epoch`` where none is given; ``meter`` tells the joules drawn so far.
    """
    while active := [learner for learner in learners if learner.active]:
        epoch = min(learner.epoch for learner in active)
        turn = [learner for learner in active if learner.epoch == epoch]
        taught = [learner for learner in turn if learner.phase.reads_teacher]
        started, drawn = time.perf_counter(), meter and meter()
        spans = (loop or train_epoch)(turn, teacher, stream, epoch)
        found: dict[Learner, Tensor] = {}
        for learner in turn:
            if learner.failure is None:
                with isolated(learner):
                    found[learner] = learner.measure(test)
        for learner, sums in zip(found, read([*found.values()]), strict=True):
            with isolated(learner):
                learner.end_epoch(sums, stream.count, len(test.labels))
        share = (time.perf_counter() - started) / len(turn)
        joules = None if meter is None or drawn is None else (meter() - drawn) / len(turn)
        # Of the device's work: a loaded machine does not stretch what steps take on a CPU.
        means = {name: float(work) for name, (work, _) in spans.read().items()} if spans else {}
        for learner in turn:
            if learner.failure is None:
                pair = means.get(learner.name), means.get(TEACHER) if learner in taught else None
                learner.history[-1] |= zip(CLOCKED, (share, *pair, joules), strict=True)
            after_epoch(learner)


def train_epoch(
    turn: Sequence[Learner], teacher: nn.Module | None, stream: Batches, epoch: int
) -> Spans:
    """One epoch: each batch passes through the teacher once, then through every learner."""
    spans = Spans(Clock(stream.device))
    for learner in turn:
        learner.begin_epoch(stream.steps, stream.device)
    for i, (images, labels, indices) in enumerate(stream.epoch(epoch)):
        alive = [learner for learner in turn if learner.failure is None]
        with spans.of(TEACHER):
            shown = shown_to(alive, teacher, images)
        for learner in alive:
            with isolated(learner), spans.of(learner.name):
                learner.step(images, shown, labels, indices, i)
    return spans


def shown_to(
    learners: Sequence[Learner], teacher: nn.Module | None, images: Tensor
) -> Features | None:
    """Pass a batch through the teacher, if one of the learners reads it now."""
    if teacher is None or not any(learner.phase.reads_teacher for learner in learners):
        return None
    with torch.no_grad():
        shown: Features = teacher(images)
    return shown


@contextmanager
def isolated(learner: Learner) -> Iterator[None]:
    """Make what goes wrong inside this learner's failure and no one else's."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, PartedError):
        raise  # nobody's fault alone: who put the cohort together can make it smaller
    except Exception as error:  # noqa: BLE001  (a plug-in may raise anything)
        learner.fail("error", blame(error, type(learner.method)), traceback.format_exc())
