"""What is measured of finished networks besides their accuracy, on the same test images.

Nothing here draws a random number, moves a weight or waits for another process.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmark.evaluation.measures import measures
from benchmark.evaluation.predictions import Answers, answers
from benchmark.models import flops
from benchmark.models.flops import Counter
from benchmark.training.cohort import Cast
from benchmark.training.learner import Learner, NotRun
from methods.interface import Batch


class Findings(NamedTuple):
    """About a finished learner."""

    predictions: bytes
    """Of a file: see ``Answers.as_npy``."""
    measures: dict[str, Any] | None
    """As its record has them."""
    operations: dict[str, int | None]
    """Those of its record's ``cost``."""


class Exam:
    """What a cohort's networks are put to when they are finished; its teacher once for all."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast

    @cached_property
    def teacher(self) -> Answers | None:
        """What the cohort's teacher answers."""
        return None if self.cast.teacher is None else answers(self.cast.teacher, self.cast.test)

    def of(self, learner: Learner, taught: bool) -> Findings:
        """Put a learner to it whose weights are saved: what its method keeps may change.

        ``taught``: by the cohort's teacher. One that only its company has has no part in it.
        """
        ours = answers(learner.method.deployed(learner.student), self.cast.test)
        found = measures(ours, self.teacher if taught else None)
        return Findings(ours.as_npy(), found, self.operations(learner, ours))

    def operations(self, learner: Learner, ours: Answers) -> dict[str, int | None]:
        """Count those of one image: the networks' and the loss's, this last."""
        labels = self.cast.test.labels[: len(ours.images)]
        deployed = learner.method.deployed(learner.student)
        return {
            "flops": flops.of_pass(learner.student, ours.images),
            "deployed_flops": flops.of_pass(deployed, ours.images),
            "connector_flops": of_loss(learner, self.cast.teacher, ours.images, labels),
        }


@torch.no_grad()
def of_loss(
    learner: Learner, teacher: nn.Module | None, images: Tensor, labels: Tensor
) -> int | None:
    """Count the last phase's loss for one image of (B, 3, H, W), connectors in it, forward only.

    A loss that compares the images of a batch has more with a larger one. It may change what its
    method keeps, so this comes after all else. None where it fails, as without gradients it may.
    """
    phase = learner.phase
    learner.student.eval()
    learner.method.eval()
    seen: Any = learner.student(images) if phase.reads_student else NotRun(phase, "student")
    shown: Any = NotRun(phase, "teacher")
    if teacher is not None and phase.reads_teacher:
        shown = teacher(images)
    places = torch.arange(len(images), device=images.device)
    batch = Batch(labels, places, torch.full((), 0.5, device=images.device))
    try:
        with Counter() as counter:
            phase.loss(seen, shown, batch)
    except Exception:  # noqa: BLE001  (a plug-in may raise anything; the run itself went well)
        return None
    total: int = counter.total
    return total // len(images)
