"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from the official files.

Files that are missing are downloaded, and the md5 of each is compared. The data sets have no
licence; their page asks users to cite the technical report.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.data.files.torchvision_files import TorchvisionFiles
from benchmark.data.source import Images, Source, Split


def official_files(kind: Any) -> list[tuple[str, str]]:  # noqa: ANN401  (torchvision has no types)
    """Return names and md5s of the files that are read, and of one that torchvision checks."""
    meta = [kind.meta["filename"], kind.meta["md5"]]
    return [(name, md5) for name, md5 in (*kind.train_list, *kind.test_list, meta)]


def load(official: TorchvisionFiles, root: Path) -> Split[Images]:
    """Return both parts; files that are missing are downloaded first."""
    official.ensure_files(root)
    return Split(read_part(official, root, train=True), read_part(official, root, train=False))


def read_part(official: TorchvisionFiles, root: Path, train: bool) -> Images:
    """Return one part. Its files must have been checked."""
    part = official.dataset_class(root, train=train)
    pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, torch.tensor(part.targets))


def class_names(official: TorchvisionFiles, root: Path) -> Sequence[str] | None:
    """Return the names in the official file of names; None where it is missing or another one."""
    meta = official.dataset_class.meta
    path = root / official.folder / meta["filename"]
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.md5(content).hexdigest() != meta["md5"]:
        return None  # a pickle may run code: only the official one is opened
    names: list[str] = pickle.loads(content)[meta["key"]]
    return names


TEN = TorchvisionFiles("CIFAR-10", "CIFAR10", "cifar-10-batches-py", 170, official_files)
HUNDRED = TorchvisionFiles("CIFAR-100", "CIFAR100", "cifar-100-python", 169, official_files)

# Padding and flip: He et al. 2016, section 4.2.
CIFAR10 = Source(
    name="cifar10",
    version=1,
    title="CIFAR-10",
    classes=10,
    size=32,
    mean=(0.4914, 0.4822, 0.4465),
    # Of all train pixels. The smaller (0.2023, ...) of some code is the mean of each image's own.
    std=(0.2470, 0.2435, 0.2616),
    padding=4,
    flip=True,
    load=partial(load, TEN),
    train_images=50_000,
    presence=TEN.presence,
    class_names=partial(class_names, TEN),
)
CIFAR100 = Source(
    name="cifar100",
    version=1,
    title="CIFAR-100",
    classes=100,
    size=32,
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
    padding=4,
    flip=True,
    load=partial(load, HUNDRED),
    train_images=50_000,
    presence=HUNDRED.presence,
    class_names=partial(class_names, HUNDRED),
)
