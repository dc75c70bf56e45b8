"""How often two networks predict the same class, from the predictions stored in run folders."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.fields import read_file, warn_once
from benchmark.store.folder import RunFolder
from benchmark.store.loading import load_record
from benchmark.store.measures import Fidelity

if TYPE_CHECKING:
    import numpy as np


def compare_predictions(student: Path, teacher: Path) -> Fidelity | None:
    """Return the agreement of two runs, given their folders, in percent of the test images.

    Each folder may hold a file of predictions: an integer array of shape (2, N) with the predicted
    class of each image in row 0 and its label in row 1. The result is None if a folder has no such
    file, or a damaged one, which is named on standard error, or if the labels differ, which means
    that the runs were tested on different images.
    """
    try:
        ours, theirs = (read_predictions(RunFolder(folder)) for folder in (student, teacher))
    except DamagedFileError as error:
        warn_once(f"warning: {error}")
        return None
    if ours is None or theirs is None or ours.shape != theirs.shape or (ours[1] != theirs[1]).any():
        return None
    same, teacher_wrong = ours[0] == theirs[0], theirs[0] != theirs[1]
    on_errors = 100 * float(same[teacher_wrong].mean()) if teacher_wrong.any() else None
    return Fidelity(agreement=100 * float(same.mean()), kl=None, error_agreement=on_errors)


def read_predictions(folder: RunFolder) -> "np.ndarray | None":
    """Return a run's predictions; None where there is no file.

    Raises DamagedFileError: the file is no array of predictions, or not the one that the run's
    record describes. Older records do not describe it.
    """
    import numpy as np  # takes 0.1 s, which suites without such files need not spend

    path, remedy = folder.predictions, "Delete the file; tables are then made without it."
    try:
        content = read_file(path)
        # Never pickled objects, which could run code. NumPy's reader raises many kinds of error.
        array: np.ndarray = np.load(BytesIO(content), allow_pickle=False)
    except FileNotFoundError:
        return None
    except DamagedFileError:
        raise
    except Exception as error:
        raise DamagedFileError(f"{path}: damaged: {error}. {remedy}") from error
    if not isinstance(array, np.ndarray) or (
        array.ndim != 2 or len(array) != 2 or array.dtype.kind not in "iu" or not array.size
    ):
        raise DamagedFileError(
            f"{path}: damaged: expected an integer array of shape (2, N). {remedy}"
        )
    described = _described(folder)
    if described is not None and described != hashlib.sha256(content).hexdigest():
        raise DamagedFileError(f"{path}: is not the file that the run's record describes. {remedy}")
    return array


def _described(folder: RunFolder) -> str | None:
    """Return the sha256 of the predictions in a run's record; None where it does not say."""
    try:
        predictions = load_record(folder.record).predictions
    except FileNotFoundError:
        return None
    return predictions.sha256 if predictions else None
