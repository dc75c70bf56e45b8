"""What is measured of a finished network besides its accuracy, on the same test images.

Nothing here draws a random number, changes a weight or waits for another process.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmark.evaluation.measures import compute_measures
from benchmark.evaluation.predictions import Predictions, predict
from benchmark.models import flops
from benchmark.models.flops import FlopCounter
from benchmark.store.measures import Measures
from benchmark.training.cohort import Cohort
from benchmark.training.learner import Learner, UnreadFeatures
from methods.interface import Batch


class Operations(NamedTuple):
    """Floating-point operations of one image, forward; the names are those of a record's cost."""

    flops: int | None = None
    deployed_flops: int | None = None
    connector_flops: int | None = None
    """None where the loss cannot be counted."""


class EvaluationResult(NamedTuple):
    """What `FinalEvaluation` finds out about one learner."""

    predictions: bytes
    """The content of the predictions file, see ``Predictions.as_npy``."""
    measures: Measures | None
    operations: Operations


class FinalEvaluation:
    """Evaluates the finished learners of a cohort; its teacher's predictions are computed once."""

    def __init__(self, cast: Cohort) -> None:
        self.cast = cast

    @cached_property
    def teacher(self) -> Predictions | None:
        """The predictions of the cohort's teacher."""
        return None if self.cast.teacher is None else predict(self.cast.teacher, self.cast.test)

    def evaluate(self, learner: Learner, with_teacher: bool) -> EvaluationResult:
        """Evaluate a learner. Save its weights before: counting may change its method's state.

        ``with_teacher``: whether the cohort's teacher is the learner's. It may be another member's.
        """
        predictions = predict(learner.method.deployed(learner.student), self.cast.test)
        measures = compute_measures(predictions, self.teacher if with_teacher else None)
        operations = self._count_operations(learner, predictions.images)
        return EvaluationResult(predictions.as_npy(), measures, operations)

    def _count_operations(self, learner: Learner, images: Tensor) -> Operations:
        labels = self.cast.test.labels[: len(images)]
        deployed = learner.method.deployed(learner.student)
        return Operations(
            flops=flops.flops_per_image(learner.student, images),
            deployed_flops=flops.flops_per_image(deployed, images),
            # Last, for the loss may change what its method keeps.
            connector_flops=count_loss_flops(learner, self.cast.teacher, images, labels),
        )


@torch.no_grad()
def count_loss_flops(
    learner: Learner, teacher: nn.Module | None, images: Tensor, labels: Tensor
) -> int | None:
    """Return the operations per image of the last phase's loss, connectors included, forward only.

    ``images`` is (B, 3, H, W). A loss that compares the images of a batch has more with a larger B.
    None where the loss raises, as it may without gradients.
    """
    phase = learner.phase
    learner.student.eval()
    learner.method.eval()
    student_features: Any = UnreadFeatures(phase, "student")
    if phase.reads_student:
        student_features = learner.student(images)
    teacher_features: Any = UnreadFeatures(phase, "teacher")
    if teacher is not None and phase.reads_teacher:
        teacher_features = teacher(images)
    indices = torch.arange(len(images), device=images.device)
    batch = Batch(labels, indices, torch.full((), 0.5, device=images.device))
    try:
        with FlopCounter() as counter:
            phase.loss(student_features, teacher_features, batch)
    except Exception:  # noqa: BLE001  (a plug-in may raise anything; the run itself went well)
        return None
    total: int = counter.total
    return total // len(images)
