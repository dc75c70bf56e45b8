"""The measures of a finished network besides its accuracy, as its record has them."""

from __future__ import annotations

from typing import Any

from benchmark.evaluation.calibration import calibration
from benchmark.evaluation.predictions import Answers
from benchmark.evaluation.similarity import fidelity, similarities


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
