"""The 1,797 scanned digits that ship inside scikit-learn (8x8 grey; UCI optdigits test part).

They are enlarged to 16x16 by repeating pixels, without rounding, and get three equal channels. The
split is fixed and stratified: a third of each class is for training. With more train images even
the smallest network makes so few errors that methods do not differ; and more test images resolve
smaller differences.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmark.config.errors import UserError
from benchmark.data.draws import random_words
from benchmark.data.source import Images, Presence, Source, Split

SCALE = 2
SPLIT_SEED = 20191
SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
"""Of the table of pixels and labels, as bytes."""


def load(root: Path) -> Split[Images]:
    """Read the package's copy; ``root`` is not used. Raises ``UserError`` if it is another one."""
    grey, labels = read_digits()
    table = np.column_stack([grey, labels]).astype(np.uint8)
    if hashlib.sha256(table.tobytes()).hexdigest() != SHA256:
        raise UserError(
            "the digits in the installed scikit-learn are not the known ones: a file of the "
            "package is damaged, or its version has other images. Install scikit-learn again."
        )
    pixels = ((grey.reshape(-1, 8, 8).astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    pixels = pixels.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    images = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1).contiguous()
    order = np.argsort(random_words(SPLIT_SEED, 0, "order", len(labels)), kind="stable")
    is_train = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = order[labels[order] == digit]
        is_train[members[: round(len(members) / 3)]] = True
    parts = [torch.from_numpy(order[mask]) for mask in (is_train[order], ~is_train[order])]
    train, test = (Images(images[part], torch.from_numpy(labels)[part]) for part in parts)
    return Split(train, test)


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return what `sklearn.datasets.load_digits` does: (1797, 64) of 0 to 16, and (1797,)."""
    # Read the file: importing the package takes longer than an epoch of the quickstart.
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # of a version that keeps it elsewhere

    grey, labels = load_digits(return_X_y=True)
    return grey, labels


def presence(root: Path) -> Presence:
    """Return that nothing is missing."""
    return Presence("ships with scikit-learn")


DIGITS = Source(
    name="digits",
    version=1,
    title="scikit-learn digits, 16 px",
    classes=10,
    size=8 * SCALE,
    mean=(0.305, 0.305, 0.305),
    std=(0.376, 0.376, 0.376),
    padding=2,
    flip=False,  # mirrored digits are no digits
    load=load,
    train_images=599,
    class_names=lambda _: tuple("0123456789"),
    presence=presence,
)
