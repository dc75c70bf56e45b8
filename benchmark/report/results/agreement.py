"""How often two networks predict the same class, from the predictions stored in run folders."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config.errors import UserError
from benchmark.store.folder import RunFolder
from benchmark.store.record import Fidelity

if TYPE_CHECKING:
    import numpy as np


def compare_predictions(student: Path, teacher: Path) -> Fidelity | None:
    """Return the agreement of two runs, given their folders, in percent of the test images.

    Each folder may hold a file of predictions: an integer array of shape (2, N) with the predicted
    class of each image in row 0 and its label in row 1. The result is None if a folder has no such
    file or if the labels differ, which means that the runs were tested on different images.

    Raises UserError: a file of predictions is damaged.
    """
    ours, theirs = (_read(RunFolder(folder).predictions) for folder in (student, teacher))
    if ours is None or theirs is None or ours.shape != theirs.shape or (ours[1] != theirs[1]).any():
        return None
    same, teacher_wrong = ours[0] == theirs[0], theirs[0] != theirs[1]
    on_errors = 100 * float(same[teacher_wrong].mean()) if teacher_wrong.any() else None
    return Fidelity(agreement=100 * float(same.mean()), kl=None, error_agreement=on_errors)


def _read(path: Path) -> "np.ndarray | None":
    import numpy as np  # takes 0.1 s, which suites without such files need not spend

    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        raise UserError(
            f"{path}: damaged: {error}. Delete the file; tables are then made without it."
        ) from error
    if array.ndim != 2 or len(array) != 2 or array.dtype.kind not in "iu" or not array.size:
        raise UserError(
            f"{path}: damaged: expected an integer array of shape (2, N). "
            "Delete the file; tables are then made without it."
        )
    return array
