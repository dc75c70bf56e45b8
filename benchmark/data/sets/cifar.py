"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the official files, md5-checked, downloaded if need be.

No licence came with them; their page asks that the technical report be cited.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.data.files.torchvision_files import TorchvisionFiles
from benchmark.data.source import Images, Source, Split


def official_files(kind: Any) -> list[tuple[str, str]]:  # noqa: ANN401  (torchvision has no types)
    """Name what is read, and what torchvision insists on."""
    meta = [kind.meta["filename"], kind.meta["md5"]]
    return [(name, md5) for name, md5 in (*kind.train_list, *kind.test_list, meta)]


def load(official: TorchvisionFiles, root: Path) -> Split[Images]:
    """Read the files, downloading them first if they are not there."""
    official.ensure_files(root)
    return Split(read_part(official, root, train=True), read_part(official, root, train=False))


def read_part(official: TorchvisionFiles, root: Path, train: bool) -> Images:
    """Decode one part; the files have been checked."""
    part = official.dataset_class(root, train=train)
    pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, torch.tensor(part.targets))


TEN = TorchvisionFiles("CIFAR-10", "CIFAR10", "cifar-10-batches-py", 170, official_files)
HUNDRED = TorchvisionFiles("CIFAR-100", "CIFAR100", "cifar-100-python", 169, official_files)

# Padding and flip: He et al. 2016, section 4.2, and everybody since.
CIFAR10 = Source(
    name="cifar10",
    version=1,
    title="CIFAR-10",
    classes=10,
    size=32,
    mean=(0.4914, 0.4822, 0.4465),
    # Of all pixels; a smaller triple that is about (0.2023, ...) is the mean of images' own.
    std=(0.2470, 0.2435, 0.2616),
    padding=4,
    flip=True,
    load=partial(load, TEN),
    train_images=50_000,
    presence=TEN.presence,
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
)
