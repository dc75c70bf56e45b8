"""Tiny data sets in the layouts of the official files, for the readers that everybody uses."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from torchvision import datasets

from benchmark.data.sets.imagenet_layout import ExpectedCounts

Patch = pytest.MonkeyPatch
Labels = Mapping[str, Sequence[int]]
"""By file: the classes of its images."""

WNIDS = ["n01440764", "n02119789", "n03995372", "n15075141"]
TRAIN = [3, 4, 3, 5]
IMAGENET = ExpectedCounts(classes=4, train_total=15, train_min=3, train_max=5, test=2)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def noise(number: int, *shape: int) -> npt.NDArray[np.uint8]:
    """Pixels unlike those of all other numbers."""
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def picture(path: Path, number: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> None:
    """An image file unlike all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size[::-1], 3) if mode == "RGB" else size[::-1]
    Image.fromarray(noise(number, *shape)).save(path, quality=90)


def cifar(root: Path, patch: Patch, kind: Any, train: Labels, test: Labels) -> None:
    """The pickles of CIFAR-10 or -100, a class of torchvision's; an image's number is its label."""
    folder, key = root / kind.base_folder, kind.meta["key"]
    folder.mkdir(parents=True)
    said = {"label_names": "labels", "fine_label_names": "fine_labels"}[key]
    for name, labels in {**train, **test}.items():
        pixels = np.stack([noise(label, 3072) for label in labels])
        (folder / name).write_bytes(pickle.dumps({"data": pixels, said: list(labels)}))
    meta = folder / kind.meta["filename"]
    meta.write_bytes(pickle.dumps({key: [f"class {i}" for i in range(100)]}))
    patch.setattr(kind, "meta", {**kind.meta, "md5": md5(meta)})
    for part, files in (("train_list", train), ("test_list", test)):
        patch.setattr(kind, part, [[name, md5(folder / name)] for name in files])


def stl10(root: Path, patch: Patch, train: int, test: int) -> None:
    """STL-10's binary files; of the unlabelled images there is none."""
    folder = root / "stl10_binary"
    folder.mkdir()
    for part, count in (("train", train), ("test", test)):
        noise(count, count * 3 * 96 * 96).tofile(folder / f"{part}_X.bin")
        (np.arange(count, dtype=np.uint8) % 10 + 1).tofile(folder / f"{part}_y.bin")
        listed = [[name, md5(folder / name)] for name in (f"{part}_X.bin", f"{part}_y.bin")]
        unread = [["unlabeled_X.bin", "0" * 32]] if part == "train" else []
        patch.setattr(datasets.STL10, f"{part}_list", listed + unread)


def tinyimagenet(root: Path, counts: ExpectedCounts) -> None:
    """TinyImageNet's folders; one train image is grey, and the last class is validated first."""
    folder = root / "tiny-imagenet-200"
    wnids = [f"n{i + 1:02d}" for i in range(counts.classes)]
    for i, wnid in enumerate(wnids):
        for k in range(counts.train_min):
            mode = "L" if (i, k) == (1, counts.train_min // 2) else "RGB"
            path = folder / "train" / wnid / "images" / f"{wnid}_{k}.JPEG"
            picture(path, 10 * i + k, mode=mode)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("0\t0\t0\t63\t63\n")
    lines = []
    for k, wnid in enumerate(wnid for wnid in reversed(wnids) for _ in range(counts.test)):
        picture(folder / "val" / "images" / f"val_{k}.JPEG", 10_000 + k)
        lines.append(f"val_{k}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join([wnids[-1], *wnids[:-1]]))
    (folder / "words.txt").write_text("n01\tgoldfish\n")


def imagenet(root: Path) -> None:
    """ImageNet's usual layout: class folders of train and of validation images."""
    folder = root / "imagenet"
    for i, (wnid, count) in enumerate(zip(WNIDS, TRAIN, strict=True)):
        for k in range(count):
            photo(folder / "train" / wnid / f"{wnid}_{10 * k}.JPEG", 10 * i + k)
    for k in range(IMAGENET.classes * IMAGENET.test):
        photo(folder / "val" / WNIDS[k * 3 % 4] / f"ILSVRC2012_val_0000000{k}.JPEG", 100 + k)


def photo(path: Path, number: int) -> None:
    """One of ImageNet's: not all are of one size."""
    picture(path, number, (30, 20 + number % 7))
