"""The measures of a finished network besides its accuracy, as its record has them."""

from __future__ import annotations

from benchmark.evaluation.calibration import measure_calibration
from benchmark.evaluation.predictions import Predictions
from benchmark.evaluation.similarity import cka_by_layer, measure_fidelity
from benchmark.store.measures import Measures


def compute_measures(student: Predictions, teacher: Predictions | None) -> Measures | None:
    """Return calibration, and fidelity and CKA where there is a teacher.

    None for fewer than two images, and where a logit of the student is not finite. A teacher with a
    logit that is not finite counts as none.
    """
    if len(student.labels) < 2 or not student.logits.isfinite().all():
        return None
    calibration = measure_calibration(student.logits, student.labels)
    if teacher is None or not teacher.logits.isfinite().all():
        return Measures(calibration)
    return Measures(
        calibration,
        fidelity=measure_fidelity(student, teacher),
        cka=cka_by_layer(student, teacher),
    )
