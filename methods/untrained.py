"""Weights as they were drawn: the control's teacher, which has nothing to teach."""

from collections.abc import Sequence
from dataclasses import dataclass

from methods.interface import Batch, Budget, Features, Losses, Method, Phase
from methods.scratch import task_loss


class Untrained(Method):
    """Nothing is learnt; batch norms gather their statistics, or features would explode."""

    name = "untrained"
    version = 1
    paper = None
    needs_teacher = False

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """One phase in which no weight moves."""
        return [Phase("observe", budget.epochs, self._observe, reads_teacher=False, trains=False)]

    def _observe(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"ce": task_loss(student, teacher, batch)["ce"].detach()}
