"""Training on the labels alone: for teachers, and as the baseline of every comparison."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.nn import functional as F

from methods.interface import Batch, Budget, Features, Losses, Method, Phase


class Scratch(Method):
    """Cross-entropy with the labels; there is no teacher."""

    name = "scratch"
    version = 1
    paper = None
    needs_teacher = False

    @dataclass(frozen=True)
    class Config:
        """Nothing to choose."""

    def phases(self, budget: Budget) -> Sequence[Phase]:
        return [Phase("task", budget.epochs, task_loss, reads_teacher=False)]


def task_loss(student: Features, teacher: Features, batch: Batch) -> Losses:
    """Cross-entropy of the student with the labels, mean over the batch, named ``ce``."""
    return {"ce": F.cross_entropy(student.logits, batch.labels)}
