"""Train a cohort with CUDA graphs: one launch for each step of all its learners.

The many small kernels of a step take longer to launch from Python than to run. So the images and
the epoch's table of random choices are kept on the device, and a counter on the device selects the
next batch. The first steps of a phase run normally. Then a step is captured in a CUDA graph, and
the graph is replayed for the other batches.
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
from benchmark.processes.interrupts import raise_if_interrupted
from benchmark.training.cohort import EpochLoop, failing_alone, teacher_features
from benchmark.training.learner import Learner
from methods.interface import Features
from methods.registry.check import describe_error

WARM_UP_STEPS = 3
"""Normal steps before one is captured: they create momentum and workspaces and choose kernels."""
GRAPHS_VARIABLE = "KD_GRAPHS"
"""Environment variable; the value 0 switches graphs off."""


def make_graph_loop(stream: TrainBatches, say: Callable[[str], None]) -> EpochLoop | None:
    """Return a loop that trains with CUDA graphs; None if the device or the stream rules them out.

    ``say`` prints a line of the job's log.
    """
    if stream.device.type != "cuda" or os.environ.get(GRAPHS_VARIABLE) == "0":
        return None
    if not (isinstance(stream, Stream) and stream.resident):
        return None
    return GraphedLoop(stream, CudaGraphRecorder(stream.device), say)


class GraphRecorder(Protocol):
    """Records the operations of a device and repeats them."""

    def running(self) -> AbstractContextManager[None]:
        """Return a context in which the steps of an epoch run."""

    def fork(self) -> None:
        """Mark the point after which branches may start."""

    def branch(self, number: int) -> AbstractContextManager[None]:
        """Return a context for work that is independent of the other branches."""

    def join(self) -> None:
        """Wait for all branches."""

    def record(self, program: Callable[[], None]) -> Callable[[], None]:
        """Run a program once; return a function that repeats it on the same memory."""

    def forget(self) -> None:
        """Discard everything that was recorded."""


class GraphedLoop:
    """An ``EpochLoop`` for one stream whose steps never wait for the host."""

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
        self.buffers: list[StaticBuffers] = []
        self.forget()

    def forget(self) -> None:
        """Discard all captured graphs."""
        self.launches: dict[int, Callable[[], None]] = {}
        self.done = Counter[int]()
        self.refused = False
        self.recorder.forget()

    def table_of(self, epoch: int) -> Tensor:
        """Return the random choices of an epoch on the device, (columns, samples)."""
        return copy_to_device(
            torch.from_numpy(np.stack(self.stream.table(epoch))), self.stream.device
        )

    def __call__(
        self, turn: Sequence[Learner], teacher: nn.Module | None, stream: TrainBatches, epoch: int
    ) -> None:
        """Train learners for one epoch."""
        assert stream is self.stream
        for learner in turn:
            learner.begin_epoch(stream.steps, stream.device)
        self.reuse_or_discard(turn, teacher)
        self.table.copy_(self.table_of(epoch))
        self.counter.zero_()
        with self.recorder.running():
            for start in range(0, stream.count, self.stream.batch_size):
                raise_if_interrupted()
                self.step(min(self.stream.batch_size, stream.count - start))

    def reuse_or_discard(self, turn: Sequence[Learner], teacher: nn.Module | None) -> None:
        """Keep the graphs if learners, optimizers and teacher are unchanged; else discard them."""
        same = teacher is self.teacher and len(turn) == len(self.buffers)
        if same and all(b.is_of(one) for b, one in zip(self.buffers, turn, strict=True)):
            for buffers in self.buffers:
                buffers.clear()
            return
        self.forget()
        self.teacher, self.buffers = teacher, [StaticBuffers(learner) for learner in turn]

    def step(self, size: int) -> None:
        """Train on the next batch: replay its graph, capture it, or run it normally."""
        if size in self.launches:
            self.launches[size]()
        elif self.refused or self.done[size] < self.warm_up:
            self.warm(size)
        else:
            self.capture(size)

    def warm(self, size: int) -> None:
        """Train normally. In the last such step, check that a replay would do the same."""
        self.done[size] += 1
        watched = self.alive if self.done[size] == self.warm_up and not self.refused else []
        before = [(learner, python_state(learner)) for learner in watched]
        self.program(size, failing_alone)
        for learner, was in before:
            if learner.failure is None and (changed := changed_names(was, python_state(learner))):
                self.refuse(f"a step of {learner.name} changes {changed} in Python")

    def capture(self, size: int) -> None:
        """Capture the next step and run it; if that fails, train normally from now on."""

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
        """Train without graphs until the learners or their phases change."""
        self.refused = True
        self.launches = {}
        self.say(f"no CUDA graph for this cohort: {why}")

    @property
    def alive(self) -> list[Learner]:
        """The learners that have not failed."""
        return [b.learner for b in self.buffers if b.learner.failure is None]

    def program(self, size: int, guard: Callable[[Learner], AbstractContextManager[None]]) -> None:
        """Run one step of all learners. This is what a graph captures."""
        rows = self.counter * self.stream.batch_size + self.places[:size]
        images, labels, indices = self.stream.batch(self.table.index_select(1, rows))
        # Learners that do not read the teacher start first, so that they run beside it.
        turn = sorted(self.alive, key=lambda learner: learner.phase.reads_teacher)
        features: Features | None = None
        self.recorder.fork()
        for number, learner in enumerate(turn):
            if learner.phase.reads_teacher and features is None:
                features = teacher_features(turn, self.teacher, images)
                self.recorder.fork()
            with self.recorder.branch(number), guard(learner):
                learner.step(images, features, labels, indices, self.counter)
        # Before `images` and `features` go out of scope: their memory could be reused otherwise.
        self.recorder.join()
        self.counter.add_(1)


class StaticBuffers:
    """The tensors of a learner that replays read and write: they must keep their addresses."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.optimizer = learner, learner.optimizer
        self.progress, self.sums = learner.progress, learner.sums

    def is_of(self, learner: Learner) -> bool:
        """Whether these buffers belong to this learner in its current phase."""
        return self.learner is learner and self.optimizer is learner.optimizer

    def clear(self) -> None:
        """Reset the sums and copy the new epoch's progress into the captured tensor."""
        self.learner.progress = self.progress.copy_(self.learner.progress)
        for total in self.sums.values():
            total.fill_(-0.0)  # adding to -0.0 keeps the first summand bit for bit
        self.learner.sums = self.sums


# ---------------------------------------------------------------- state that a replay would miss


@contextmanager
def blaming(learner: Learner) -> Iterator[None]:
    """Name the learner whose step cannot be captured."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise RuntimeError(
            f"{learner.name}: {describe_error(error, type(learner.method))}"
        ) from error


def python_state(learner: Learner) -> dict[str, Any]:
    """Return the Python state of a learner's modules: numbers, sizes, and addresses of tensors."""
    return {
        f"{type(part).__name__}.{place}.{name}".replace("..", "."): seen
        for part in (learner.student, learner.method)
        for place, module in part.named_modules()
        for holder in (vars(module), module._parameters, module._buffers)
        for name, value in holder.items()
        if (seen := comparable(value)) is not None
    }


def comparable(value: object) -> object:
    """Return the part of a value that a step can change without a graph recording it."""
    if isinstance(value, Tensor):
        return value.data_ptr()
    if isinstance(value, bool | int | float | str):
        return value
    return len(value) if isinstance(value, Sized) else None


def changed_names(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the names whose values differ, comma-separated."""
    both = before.keys() | after.keys()
    return ", ".join(sorted(name for name in both if before.get(name) != after.get(name)))


# ---------------------------------------------------------------- on a GPU


class CudaGraphRecorder:
    """Repeats a program by a CUDA graph. Graphs of the same learners share a memory pool.

    Sharing is safe: the graphs never run at the same time, and nothing that one leaves in the pool
    is read afterwards. Weights, momentum, sums and counters were allocated before.
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
        """Run on a separate stream, since the default stream cannot be captured."""
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
        """Run on a separate stream, which starts at the last fork."""
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
        """Capture the program, which does not run it, and launch the graph once."""
        self.open.clear()  # left by a capture that failed
        graph = torch.cuda.CUDAGraph()
        why: Exception | None = None
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.main):
                try:
                    program()
                except Exception as error:  # noqa: BLE001
                    why = error  # the end of the capture fails too, and would hide this error
        except Exception as error:  # noqa: BLE001
            why = why or error
        if why is not None:
            raise why
        graph.replay()
        return graph.replay

    def forget(self) -> None:
        """Start a new memory pool: one whose graphs are gone cannot be used again."""
        self.pool = torch.cuda.graph_pool_handle()
