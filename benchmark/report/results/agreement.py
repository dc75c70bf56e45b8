"""How alike two networks are that never met, from the classes that their runs predicted."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config.errors import UserError
from benchmark.store.folder import RunFolder
from benchmark.store.record import Fidelity

if TYPE_CHECKING:
    import numpy as np


def compare(ours: Path, teachers: Path) -> Fidelity | None:
    """Agreement of two runs' folders; None where one kept no classes or saw other images.

    Their files are (2, N) of whole numbers: of every image the predicted class, and its label.
    Raises UserError for one that is not.
    """
    mine, theirs = (_read(RunFolder(folder).predictions) for folder in (ours, teachers))
    if mine is None or theirs is None or mine.shape != theirs.shape or (mine[1] != theirs[1]).any():
        return None
    same, wrong = mine[0] == theirs[0], theirs[0] != theirs[1]
    on_errors = 100 * float(same[wrong].mean()) if wrong.any() else None
    return Fidelity(100 * float(same.mean()), None, on_errors)


def _read(path: Path) -> "np.ndarray | None":
    import numpy as np  # a tenth of a second that a suite without such files need not wait for

    try:
        read: np.ndarray = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged: {error}. Delete it: tables go without it.") from error
    if read.ndim != 2 or len(read) != 2 or read.dtype.kind not in "iu" or not read.size:
        raise UserError(f"{path}: damaged: is not (2, N) classes. Delete it: tables go without it.")
    return read
