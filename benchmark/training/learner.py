"""A learner: one student in training, with its method, optimizer and epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from benchmark.config.recipe import Recipe
from benchmark.data.stream import Tests, sent
from benchmark.evaluation.accuracy import measured, scores_of
from benchmark.processes.distributed import ALONE
from benchmark.training.optimizer import SGD, learning_rate
from methods.interface import Batch, Budget, Features, Losses, Method, Phase
from methods.registry.check import BadMethod, blame, loss_faults, phase_faults, place

FailureKind = Literal["non-finite", "error"]


class Failure(NamedTuple):
    """Why a learner stopped."""

    kind: FailureKind
    message: str
    traceback: str | None
    epoch: int
    """In which epoch, from 1."""
    phase: str


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
