"""A cohort's whole training step as one launch: captured in a CUDA graph, replayed batch by batch.

A step's many small kernels take longer to launch from Python than to run. So the images and the
epoch's table of draws lie on the device, a counter there says which batch comes next, and the first
few steps of a phase, which train like all others, are followed by replays of what they did.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data.stream import Stream, TrainBatches, copy_to_device
from benchmark.training.cohort import EpochLoop, failing_alone, teacher_features
from benchmark.training.learner import Learner
from methods.interface import Features
from methods.registry.check import describe_error

WARM_UP_STEPS = 3
"""Steps of a batch size before it is captured: momentum, workspaces and kernels are there then."""
GRAPHS_VARIABLE = "KD_GRAPHS"
"""The environment variable that turns graphs off, by 0."""


def make_graph_loop(stream: TrainBatches, say: Callable[[str], None]) -> EpochLoop | None:
    """Return what trains an epoch on a stream by graphs; None where they cannot be had."""
    if stream.device.type != "cuda" or os.environ.get(GRAPHS_VARIABLE) == "0":
        return None
    if not (isinstance(stream, Stream) and stream.resident):
        return None
    return GraphedLoop(stream, CudaGraphRecorder(stream.device), say)


class GraphRecorder(Protocol):
    """How a device repeats what it has done."""

    def running(self) -> AbstractContextManager[None]:
        """Where an epoch's steps are done."""

    def fork(self) -> None:
        """Say that what comes next in branches rests on what has been done so far."""

    def branch(self, number: int) -> AbstractContextManager[None]:
        """Where one of several things is done that do not depend on each other."""

    def join(self) -> None:
        """Let what comes next rest on all branches."""

    def record(self, program: Callable[[], None]) -> Callable[[], None]:
        """Do it once, and return what does the same again in the same places."""

    def forget(self) -> None:
        """Hear that nothing recorded so far will be done again."""


class GraphedLoop:
    """A ``Loop`` whose steps ask nothing of the host; it belongs to one stream."""

    def __init__(
        self,
        stream: Stream,
        recorder: GraphRecorder,
        say: Callable[[str], None],
        warm_up: int = WARM_UP_STEPS,
    ) -> None:
        self.stream, self.recorder, self.say, self.warm_up = stream, recorder, say, warm_up
        self.counter = torch.zeros(1, dtype=torch.int64, device=stream.device)
        self.places = torch.arange(stream.batch_size, device=stream.device)
        self.table = self.table_of(0)
        self.teacher: nn.Module | None = None
        self.desks: list[StaticBuffers] = []
        self.forget()

    def forget(self) -> None:
        """Let go of all that was captured."""
        self.launches: dict[int, Callable[[], None]] = {}
        self.done = Counter[int]()
        self.refused = False
        self.recorder.forget()

    def table_of(self, epoch: int) -> Tensor:
        """Return (columns, samples) on the device."""
        return copy_to_device(
            torch.from_numpy(np.stack(self.stream.table(epoch))), self.stream.device
        )

    def __call__(
        self, turn: Sequence[Learner], teacher: nn.Module | None, stream: TrainBatches, epoch: int
    ) -> None:
        """Train for an epoch."""
        assert stream is self.stream
        for learner in turn:
            learner.begin_epoch(stream.steps, stream.device)
        self.seat(turn, teacher)
        self.table.copy_(self.table_of(epoch))
        self.counter.zero_()
        with self.recorder.running():
            for start in range(0, stream.count, self.stream.batch_size):
                self.step(min(self.stream.batch_size, stream.count - start))

    def seat(self, turn: Sequence[Learner], teacher: nn.Module | None) -> None:
        """Give learners the places that were captured, if they and their optimizers still are."""
        same = teacher is self.teacher and len(turn) == len(self.desks)
        if same and all(desk.is_of(one) for desk, one in zip(self.desks, turn, strict=True)):
            for desk in self.desks:
                desk.clear()
            return
        self.forget()
        self.teacher, self.desks = teacher, [StaticBuffers(learner) for learner in turn]

    def step(self, size: int) -> None:
        """Train on the next batch."""
        if size in self.launches:
            self.launches[size]()
        elif self.refused or self.done[size] < self.warm_up:
            self.warm(size)
        else:
            self.capture(size)

    def warm(self, size: int) -> None:
        """Train on it as it is; look at the last such step, whether replays would do the same."""
        self.done[size] += 1
        watched = self.alive if self.done[size] == self.warm_up and not self.refused else []
        before = [(learner, python_state(learner)) for learner in watched]
        self.program(size, failing_alone)
        for learner, was in before:
            if learner.failure is None and (changed := changed_names(was, python_state(learner))):
                self.refuse(f"a step of {learner.name} changes {changed} in Python")

    def capture(self, size: int) -> None:
        """Train on it, and keep how."""

        def program() -> None:
            self.program(size, blaming)

        try:
            self.launches[size] = self.recorder.record(program)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is: without a graph it may go well)
            self.refuse(str(error).partition("\n")[0])
        if self.refused:  # out of the except block, whose traceback keeps tensors alive
            self.warm(size)

    def refuse(self, why: str) -> None:
        """Go on without graphs until the learners or their phases are others."""
        self.refused = True
        self.launches = {}
        self.say(f"no CUDA graph for this cohort: {why}")

    @property
    def alive(self) -> list[Learner]:
        """Who has not failed."""
        return [desk.learner for desk in self.desks if desk.learner.failure is None]

    def program(self, size: int, guard: Callable[[Learner], AbstractContextManager[None]]) -> None:
        """One step of all learners: what a graph holds."""
        rows = self.counter * self.stream.batch_size + self.places[:size]
        images, labels, indices = self.stream.batch(self.table.index_select(1, rows))
        # Who does not read the teacher is on the way while it runs.
        turn = sorted(self.alive, key=lambda learner: learner.phase.reads_teacher)
        shown: Features | None = None
        self.recorder.fork()
        for number, learner in enumerate(turn):
            if learner.phase.reads_teacher and shown is None:
                shown = teacher_features(turn, self.teacher, images)
                self.recorder.fork()
            with self.recorder.branch(number), guard(learner):
                learner.step(images, shown, labels, indices, self.counter)
        # What the branches read lives until here: freed before, its memory could be given anew.
        self.recorder.join()
        self.counter.add_(1)


class StaticBuffers:
    """What a learner finds in the same place in every epoch, for replays read and write there."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.optimizer = learner, learner.optimizer
        self.progress, self.sums = learner.progress, learner.sums

    def is_of(self, learner: Learner) -> bool:
        """Whether it is this learner's, in the phase that it is in."""
        return self.learner is learner and self.optimizer is learner.optimizer

    def clear(self) -> None:
        """Begin another epoch."""
        self.learner.progress = self.progress.copy_(self.learner.progress)
        for total in self.sums.values():
            total.fill_(-0.0)  # the one number that leaves the first summand as it is, to the bit
        self.learner.sums = self.sums


# ---------------------------------------------------------------- what a replay would not repeat


@contextmanager
def blaming(learner: Learner) -> Iterator[None]:
    """Say whose step it was that cannot be captured."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise RuntimeError(
            f"{learner.name}: {describe_error(error, type(learner.method))}"
        ) from error


def python_state(learner: Learner) -> dict[str, Any]:
    """What a learner's modules hold beside the values of tensors: where these lie, and the rest."""
    return {
        f"{type(part).__name__}.{place}.{name}".replace("..", "."): seen
        for part in (learner.student, learner.method)
        for place, module in part.named_modules()
        for holder in (vars(module), module._parameters, module._buffers)
        for name, value in holder.items()
        if (seen := comparable(value)) is not None
    }


def comparable(value: object) -> object:
    """Return what of a value a step may change without a graph's knowing."""
    if isinstance(value, Tensor):
        return value.data_ptr()
    if isinstance(value, bool | int | float | str):
        return value
    return len(value) if isinstance(value, Sized) else None


def changed_names(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Name what is not as it was."""
    both = before.keys() | after.keys()
    return ", ".join(sorted(name for name in both if before.get(name) != after.get(name)))


# ---------------------------------------------------------------- on a GPU


class CudaGraphRecorder:
    """Repeats a program by a CUDA graph; graphs of the same learners share a pool of memory.

    That is sound because they never run at the same time, and because nothing that one leaves in
    the pool is read afterwards: weights, momentum, sums and counters were there before.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.main = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.sides: list[torch.cuda.Stream] = []
        self.open: list[torch.cuda.Stream] = []
        self.forget()
        self.forked = torch.cuda.Event()  # type: ignore[no-untyped-call]

    @contextmanager
    def running(self) -> Iterator[None]:
        """On a stream of its own: the default one cannot be captured."""
        outer = torch.cuda.current_stream(self.device)
        self.main.wait_stream(outer)
        with torch.cuda.stream(self.main):
            yield
        outer.wait_stream(self.main)

    def fork(self) -> None:
        """Mark the point from which branches start."""
        self.forked = self.main.record_event()

    @contextmanager
    def branch(self, number: int) -> Iterator[None]:
        """On a stream of its own, from the last fork on."""
        if number == len(self.sides):
            self.sides.append(torch.cuda.Stream(self.device))  # type: ignore[no-untyped-call]
        side = self.sides[number]
        side.wait_event(self.forked)
        with torch.cuda.stream(side):
            yield
        self.open.append(side)

    def join(self) -> None:
        """Have the main stream wait for the branches."""
        while self.open:
            self.main.wait_stream(self.open.pop())

    def record(self, program: Callable[[], None]) -> Callable[[], None]:
        """Capture it, which runs nothing, and launch it."""
        self.open.clear()  # of a capture that failed
        graph = torch.cuda.CUDAGraph()
        why: Exception | None = None
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.main):
                try:
                    program()
                except Exception as error:  # noqa: BLE001
                    why = error  # else the end of the capture, which fails too, would hide it
        except Exception as error:  # noqa: BLE001
            why = why or error
        if why is not None:
            raise why
        graph.replay()
        return graph.replay

    def forget(self) -> None:
        """Take memory from a new pool: one whose graphs are gone cannot be taken up again."""
        self.pool = torch.cuda.graph_pool_handle()
