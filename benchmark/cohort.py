"""Learners, and the loop that trains a cohort of them on one stream with one teacher pass.

The law of the cohort: a student's numbers do not depend on its company. Alone, in a cohort of six
or resumed after a kill, on a CPU it ends with the same bits, because the batch is a function of
(seed, epoch, index), a learner is built under its own seed, nothing in a step draws from a global
generator and nothing writes into what learners share.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from benchmark.clock import Clock, Spans
from benchmark.data.stream import Batches, Tests, sent
from benchmark.evaluate import measured, read, scores_of
from benchmark.optim import SGD, learning_rate
from benchmark.ranks import ALONE, PartedError
from benchmark.runs import Recipe
from methods.check import BadMethod, blame, loss_faults, phase_faults, place
from methods.interface import Batch, Budget, Features, Losses, Method, Phase

FailureKind = Literal["non-finite", "error"]


class Failure(NamedTuple):
    """Why a learner stopped."""

    kind: FailureKind
    message: str
    traceback: str | None
    epoch: int
    """In which epoch, from 1."""
    phase: str


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


class NotRun:
    """Stands for a network's features in a phase that says it does not read them."""

    def __init__(self, phase: Phase, who: Literal["student", "teacher"]) -> None:
        self._phase, self._who = phase.name, who

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(
            f"phase '{self._phase}' says reads_{self._who}=False, but its loss reads "
            f"{self._who}.{name}"
        )


class Learner:
    """A run in motion: student, method, optimizer, and how many epochs it has behind it."""

    def __init__(self, name: str, student: nn.Module, method: Method, recipe: Recipe) -> None:
        self.name, self.student, self.method, self.recipe = name, student, method, recipe
        self.phases = laid_out(method, Budget(recipe.epochs, recipe.init_epochs))
        self.epochs = sum(phase.epochs for phase in self.phases)
        self.epoch = 0  # finished ones, through all phases
        self.history: list[dict[str, Any]] = []
        self.failure: Failure | None = None
        self.abandoned = False  # set from outside: somebody else goes on with this run
        self.optimizer: SGD | None = None
        self.rate = recipe.lr
        self.sums: dict[str, Tensor] = {}
        self.ranks = ALONE

    @property
    def active(self) -> bool:
        """Whether there is training left to do."""
        return self.failure is None and not self.abandoned and self.epoch < self.epochs

    @property
    def phase(self) -> Phase:
        """The phase that the next epoch belongs to (after the last epoch: the last phase)."""
        return self._phase_and_start()[0]

    def _phase_and_start(self) -> tuple[Phase, int]:
        start = 0
        for phase in self.phases:
            if self.epoch < start + phase.epochs:
                return phase, start
            start += phase.epochs
        return self.phases[-1], start - self.phases[-1].epochs

    def begin_epoch(self, steps: int, device: torch.device) -> None:
        """Set the learning rate; at a phase's first epoch, start with a fresh optimizer."""
        phase, start = self._phase_and_start()
        if self.optimizer is None or self.epoch == start:
            self.optimizer = self._fresh_optimizer()
        self.rate = learning_rate(self.recipe, phase, self.epoch - start)
        self.optimizer.set_rate(self.rate, device)
        # float64 on the host, so that the shares are the same on every device.
        shares = (
            self.epoch - start + torch.arange(steps, dtype=torch.float64) / steps
        ) / phase.epochs
        self.progress = sent(shares.float(), device)
        self.sums = {}
        self.student.train()
        self.method.train()

    def _fresh_optimizer(self) -> SGD:
        self.student.zero_grad(set_to_none=True)
        self.method.zero_grad(set_to_none=True)
        return SGD(self._parameters(), self.recipe)

    def step(
        self,
        images: Tensor,
        teacher: Features | None,
        labels: Tensor,
        indices: Tensor,
        i: int | Tensor,
    ) -> None:
        """Train on the epoch's batch number ``i``; where only the device knows it, (1,) int64."""
        assert self.optimizer is not None
        self.optimizer.forget_gradients()
        phase = self.phase
        trained = self._parameters() if phase.trains else []
        try:
            seen: Any = self.student(images) if phase.reads_student else NotRun(phase, "student")
            shown: Any = teacher if phase.reads_teacher else NotRun(phase, "teacher")
            # As an index, a tensor would be read by the host.
            now = self.progress[i] if isinstance(i, int) else self.progress.index_select(0, i)[0]
            losses = phase.loss(seen, shown, Batch(labels, indices, now))
            total = total_of(losses, phase)
            if phase.trains:
                torch.autograd.backward(total)
        except Exception as error:
            self.ranks.average(trained, labels, blame(error, type(self.method)))
            raise
        self.ranks.average(trained, labels, None)
        if phase.trains:
            self.optimizer.step()
        self._add(losses, len(labels))

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.student.parameters(), *self.method.parameters()]

    def _add(self, losses: Losses, count: int) -> None:
        for name, value in losses.items():
            weighted = value.detach().double() * count
            # In place, for a captured step knows places and no names.
            if name in self.sums:
                self.sums[name].add_(weighted)
            else:
                self.sums[name] = weighted

    def measure(self, test: Tests) -> Tensor:
        """Evaluate; return the epoch's sums, those of the losses and three of scores, unread."""
        losses = self.ranks.add(torch.stack(list(self.sums.values())))
        self.ranks.align(self.student, self.method)
        return torch.cat([losses, measured(self.method.deployed(self.student), test, self.ranks)])

    def end_epoch(self, sums: list[float], images_seen: int, tested: int) -> None:
        """Write the history, or fail where something is not finite."""
        phase = self.phase
        *losses, _, _, _ = sums
        means = {name: value / images_seen for name, value in zip(self.sums, losses, strict=True)}
        # One bad term spoils the weights and with them all other terms: name what is spoilt.
        spoilt = [f"'{name}' ({mean})" for name, mean in means.items() if not math.isfinite(mean)]
        if spoilt:
            terms = f"loss term{'s' if len(spoilt) > 1 else ''} {', '.join(spoilt)}"
            self.fail(
                "non-finite", f"{terms} of phase '{phase.name}' not finite ({place(phase.loss)})"
            )
            return
        scores = scores_of(sums[-3:], tested)
        if not math.isfinite(scores.test_loss):
            self.fail(
                "non-finite", f"the test loss became {scores.test_loss} in phase '{phase.name}'"
            )
            return
        self.epoch += 1
        row = {"epoch": self.epoch, "phase": phase.name, "lr": self.rate, "losses": means}
        self.history.append({**row, **scores._asdict()})

    def fail(self, kind: FailureKind, message: str, trace: str | None = None) -> None:
        """Stop this learner; its cohort goes on."""
        self.failure = Failure(kind, message, trace, self.epoch + 1, self.phase.name)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on: plain data and tensors."""
        return {
            "epoch": self.epoch,
            "history": self.history,
            "student": self.student.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer
            and {"state": self.optimizer.state(), "param_groups": [{"lr": self.rate}]},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned, bit for bit."""
        self.epoch, self.history = state["epoch"], state["history"]
        self.student.load_state_dict(state["student"])
        self.method.load_state_dict(state["method"])
        if state["optimizer"] is not None:
            self.optimizer = self._fresh_optimizer()
            self.optimizer.load_state(state["optimizer"]["state"])
            self.rate = state["optimizer"]["param_groups"][0]["lr"]


def laid_out(method: Method, budget: Budget) -> Sequence[Phase]:
    """Return a method's phases. Raises ``BadMethod`` where they cannot be trained."""
    phases = method.phases(budget)
    if wrong := phase_faults(method, phases):
        raise BadMethod(wrong)
    return phases


def total_of(losses: Losses, phase: Phase) -> Tensor:
    """Sum a phase's losses. Raises ``BadMethod`` where they are not what can be minimised."""
    if wrong := loss_faults(phase, losses):
        raise BadMethod(wrong)
    return torch.stack(list(losses.values())).sum()


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
