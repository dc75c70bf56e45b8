"""CIFAR-100 through torchvision: the official files, md5-checked, downloaded if need be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from benchmark.data.source import Images, Source, Split
from benchmark.errors import UserError


def load(root: Path) -> Split:
    """Read ``root/cifar-100-python``, downloading it first if it is not there."""
    from torchvision import datasets  # slow to import

    official = datasets.CIFAR100

    folder = root / official.base_folder
    files = [
        *official.train_list,
        *official.test_list,
        [official.meta["filename"], official.meta["md5"]],
    ]
    missing = [name for name, _ in files if not (folder / name).is_file()]
    for name, md5 in files:
        if name not in missing:
            check(folder / name, md5)
    if missing:
        download(official, root)
    return Split(read(official, root, train=True), read(official, root, train=False))


def check(path: Path, md5: str) -> None:
    """Compare a file with the official checksum."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise UserError(
            f"{path} is damaged: its md5 is {found}, the official file's is {md5}. "
            "Delete it, and it will be downloaded again (or put the official file there)."
        )


def download(official: Any, root: Path) -> None:  # noqa: ANN401  (torchvision has no types)
    """Let torchvision download and unpack the archive."""
    print(f"CIFAR-100 is not at {root.resolve()}; downloading it (169 MB)", flush=True)
    try:
        official(root, download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"CIFAR-100 is neither at {(root / official.base_folder).resolve()} nor could it be "
            f"downloaded ({error}). Put the official files (train, test, meta) there, or say where "
            "they are with --data-root or the environment variable KD_DATA."
        ) from error


def read(official: Any, root: Path, train: bool) -> Images:  # noqa: ANN401
    """Decode one part; the files have been checked."""
    part = official(root, train=train)
    pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, torch.tensor(part.targets))


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
    load=load,
)
