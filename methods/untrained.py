"""A network of random weights: the teacher of a control run."""

from collections.abc import Sequence
from dataclasses import dataclass

from methods.interface import Batch, Budget, Features, Losses, Method, Phase
from methods.scratch import task_loss


class Untrained(Method):
    """No weight is trained; batch norms gather statistics, without which features would explode."""

    name = "untrained"
    version = 1
    paper = None
    needs_teacher = False

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("observe", budget.epochs, self._observe, reads_teacher=False, trains=False)]

    def _observe(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"ce": task_loss(student, teacher, batch)["ce"].detach()}
