"""A learner: a student in training with its method, optimizer and number of finished epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from benchmark.config.recipe import Recipe
from benchmark.data.stream import TestBatches, copy_to_device
from benchmark.evaluation.accuracy import mean_scores, score_sums
from benchmark.processes.distributed import SINGLE_PROCESS
from benchmark.store.record import FailureKind
from benchmark.training.optimizer import SGD, learning_rate
from methods.interface import Batch, Budget, Features, Losses, Method, Phase
from methods.registry.check import (
    BadMethod,
    describe_error,
    find_loss_faults,
    find_phase_faults,
    source_line,
)


class LearnerFailure(NamedTuple):
    """Why a learner stopped."""

    kind: FailureKind
    message: str
    traceback: str | None
    epoch: int
    """The epoch of the failure, counted from 1."""
    phase: str


class UnreadFeatures:
    """Replaces a network's features in a phase that declares not to read them."""

    def __init__(self, phase: Phase, who: Literal["student", "teacher"]) -> None:
        self._phase, self._who = phase.name, who

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(
            f"phase '{self._phase}' says reads_{self._who}=False, but its loss reads "
            f"{self._who}.{name}"
        )


class Learner:
    """The state of a run in training: student, method, optimizer and number of finished epochs."""

    def __init__(self, name: str, student: nn.Module, method: Method, recipe: Recipe) -> None:
        self.name, self.student, self.method, self.recipe = name, student, method, recipe
        self.phases = checked_phases(method, Budget(recipe.epochs, recipe.init_epochs))
        self.epochs = sum(phase.epochs for phase in self.phases)
        self.epoch = 0  # finished epochs of all phases
        self.history: list[dict[str, Any]] = []
        self.failure: LearnerFailure | None = None
        self.abandoned = False  # set by the job: another process has taken over this run
        self.optimizer: SGD | None = None
        self.rate = recipe.lr
        self.sums: dict[str, Tensor] = {}
        self.ranks = SINGLE_PROCESS

    @property
    def active(self) -> bool:
        """Whether there are epochs left to train."""
        return self.failure is None and not self.abandoned and self.epoch < self.epochs

    @property
    def phase(self) -> Phase:
        """The phase of the next epoch; after the last epoch, the last phase."""
        return self._phase_and_start()[0]

    def _phase_and_start(self) -> tuple[Phase, int]:
        start = 0
        for phase in self.phases:
            if self.epoch < start + phase.epochs:
                return phase, start
            start += phase.epochs
        return self.phases[-1], start - self.phases[-1].epochs

    def begin_epoch(self, steps: int, device: torch.device) -> None:
        """Set the learning rate. A phase's first epoch starts with a new optimizer."""
        phase, start = self._phase_and_start()
        if self.optimizer is None or self.epoch == start:
            self.optimizer = self._fresh_optimizer()
        self.rate = learning_rate(self.recipe, phase, self.epoch - start)
        self.optimizer.set_rate(self.rate, device)
        # float64 on the host, so that the progress is the same on every device.
        progress = (
            self.epoch - start + torch.arange(steps, dtype=torch.float64) / steps
        ) / phase.epochs
        self.progress = copy_to_device(progress.float(), device)
        self.sums = {}
        self.student.train()
        self.method.train()
        for module in self._kept_modules():
            module.eval()

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
        """Train on batch ``i`` of the epoch. In a CUDA graph, ``i`` is a (1,) int64 tensor."""
        assert self.optimizer is not None
        self.optimizer.forget_gradients()
        phase = self.phase
        trained = self._parameters() if phase.trains else []
        try:
            student: Any = (
                self.student(images) if phase.reads_student else UnreadFeatures(phase, "student")
            )
            teacher_seen: Any = teacher if phase.reads_teacher else UnreadFeatures(phase, "teacher")
            # Indexing with a tensor would make the host wait for the device.
            now = self.progress[i] if isinstance(i, int) else self.progress.index_select(0, i)[0]
            losses = phase.loss(student, teacher_seen, Batch(labels, indices, now))
            total = sum_losses(losses, phase)
            if phase.trains:
                torch.autograd.backward(total)
                for parameter in self._kept_parameters():
                    parameter.grad = None
        except Exception as error:
            self.ranks.average_gradients(trained, labels, describe_error(error, type(self.method)))
            raise
        self.ranks.average_gradients(trained, labels, None)
        if phase.trains:
            self.optimizer.step()
        self._add(losses, len(labels))

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.student.parameters(), *self.method.parameters()]

    def _kept_modules(self) -> tuple[nn.Module, ...]:
        """Return the modules of the student that stay as they are in this phase."""
        if not self.phase.keeps_head:
            return ()
        kept: tuple[nn.Module, ...] = self.student.behind_stages  # type: ignore[assignment]
        return kept

    def _kept_parameters(self) -> Iterator[nn.Parameter]:
        return (one for module in self._kept_modules() for one in module.parameters())

    def _add(self, losses: Losses, count: int) -> None:
        for name, value in losses.items():
            weighted = value.detach().double() * count
            # In place, since a CUDA graph adds to the same memory in every replay.
            if name in self.sums:
                self.sums[name].add_(weighted)
            else:
                self.sums[name] = weighted

    def measure(self, test: TestBatches) -> Tensor:
        """Evaluate. Returns the sums of the losses and three of the scores, still on the device."""
        losses = self.ranks.sum(torch.stack(list(self.sums.values())))
        self.ranks.broadcast_buffers(self.student, self.method)
        return torch.cat([losses, score_sums(self.method.deployed(self.student), test, self.ranks)])

    def end_epoch(self, sums: list[float], images_seen: int, tested: int) -> None:
        """Append a row to the history, or fail if a loss or the test loss is not finite.

        ``sums`` are those that ``measure`` returned, ``images_seen`` the train images of the epoch
        and ``tested`` the test images.
        """
        phase = self.phase
        *losses, _, _, _ = sums
        means = {name: value / images_seen for name, value in zip(self.sums, losses, strict=True)}
        # One bad term makes the weights and then the other terms non-finite, so name all of them.
        bad_terms = [
            f"'{name}' ({mean})" for name, mean in means.items() if not math.isfinite(mean)
        ]
        if bad_terms:
            terms = f"loss term{'s' if len(bad_terms) > 1 else ''} {', '.join(bad_terms)}"
            self.fail(
                "non-finite",
                f"{terms} of phase '{phase.name}' not finite ({source_line(phase.loss)})",
            )
            return
        scores = mean_scores(sums[-3:], tested)
        if not math.isfinite(scores.test_loss):
            self.fail(
                "non-finite", f"the test loss became {scores.test_loss} in phase '{phase.name}'"
            )
            return
        self.epoch += 1
        row = {"epoch": self.epoch, "phase": phase.name, "lr": self.rate, "losses": means}
        self.history.append({**row, **scores._asdict()})

    def fail(self, kind: FailureKind, message: str, trace: str | None = None) -> None:
        """Stop this learner; the other learners of its cohort go on."""
        self.failure = LearnerFailure(kind, message, trace, self.epoch + 1, self.phase.name)

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on, as plain data and tensors."""
        return {
            "epoch": self.epoch,
            "history": self.history,
            "student": self.student.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer
            and {"state": self.optimizer.state(), "param_groups": [{"lr": self.rate}]},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what ``state`` returned. Training then continues bit for bit."""
        self.epoch, self.history = state["epoch"], state["history"]
        self.student.load_state_dict(state["student"])
        self.method.load_state_dict(state["method"])
        if state["optimizer"] is not None:
            self.optimizer = self._fresh_optimizer()
            self.optimizer.load_state(state["optimizer"]["state"])
            self.rate = state["optimizer"]["param_groups"][0]["lr"]


def checked_phases(method: Method, budget: Budget) -> Sequence[Phase]:
    """Return a method's phases. Raises ``BadMethod`` if they cannot be trained."""
    phases = method.phases(budget)
    if wrong := find_phase_faults(method, phases):
        raise BadMethod(wrong)
    return phases


def sum_losses(losses: Losses, phase: Phase) -> Tensor:
    """Return the sum of a phase's losses. Raises ``BadMethod`` if it cannot be minimised."""
    if wrong := find_loss_faults(phase, losses):
        raise BadMethod(wrong)
    return torch.stack(list(losses.values())).sum()
