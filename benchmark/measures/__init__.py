"""What is measured of finished networks besides their accuracy, on the same test images.

Nothing here draws a random number, moves a weight or waits for another process.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

from benchmark.cohort import Cast, Learner
from benchmark.measures import flops
from benchmark.measures.answers import Answers, answers
from benchmark.measures.calibration import calibration
from benchmark.measures.likeness import fidelity, similarities


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
            "connector_flops": flops.of_loss(learner, self.cast.teacher, ours.images, labels),
        }


def measures(ours: Answers, teachers: Answers | None) -> dict[str, Any] | None:
    """Return what a record says of a network by its answers, and beside those of its teacher.

    None of fewer than two images, and where a logit is not finite.
    """
    if len(ours.labels) < 2 or not ours.logits.isfinite().all():
        return None
    found: dict[str, Any] = {"fidelity": None, "cka": None}
    if teachers is not None and teachers.logits.isfinite().all():
        found["fidelity"] = fidelity(ours, teachers)._asdict()
        found["cka"] = similarities(ours, teachers)
    return {"calibration": calibration(ours.logits, ours.labels).as_json(), **found}
