"""STL-10 (Coates, Ng and Lee 2011), its labelled part: 5,000 train and 8,000 test images of 96 px.

The download also has 100,000 unlabelled images, which are neither unpacked nor read. The images
come from ImageNet, so ImageNet's terms apply: research and teaching only, no commercial use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.config.errors import UserError
from benchmark.data.files.torchvision_files import TorchvisionFiles
from benchmark.data.source import Images, Source, Split

CLASSES, SIZE = 10, 96
CLASS_NAMES = (
    *("airplane", "bird", "car", "cat", "deer"),
    *("dog", "horse", "monkey", "ship", "truck"),
)
UNREAD = "unlabeled_X.bin"


def official_files(kind: Any) -> list[tuple[str, str]]:  # noqa: ANN401  (torchvision has no types)
    """Return names and md5s of the files that are read: not those of the unlabelled images."""
    return [(name, md5) for name, md5 in (*kind.train_list, *kind.test_list) if name != UNREAD]


OFFICIAL = TorchvisionFiles("STL-10", "STL10", "stl10_binary", 2640, official_files)


def load(root: Path) -> Split[Images]:
    """Return both parts; files that are missing are downloaded first."""
    folder = OFFICIAL.ensure_files(root)
    return Split(read_part(folder, "train"), read_part(folder, "test"))


def read_part(folder: Path, part: str) -> Images:
    """Return one part. A file has three channels an image, each column by column; labels 1-10."""
    raw = np.fromfile(folder / f"{part}_X.bin", dtype=np.uint8).reshape(-1, 3, SIZE, SIZE)
    labels = np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8).astype(np.int64) - 1
    if len(raw) != len(labels):
        raise UserError(f"{folder}: {len(raw)} images of {part}, but {len(labels)} labels")
    pixels = np.ascontiguousarray(raw.transpose(0, 1, 3, 2))
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


STL10 = Source(
    name="stl10",
    version=1,
    title="STL-10, 96 px",
    classes=CLASSES,
    size=SIZE,
    # Of the train images, as in much public code.
    mean=(0.4467, 0.4398, 0.4066),
    std=(0.2603, 0.2566, 0.2713),
    padding=12,  # an eighth of the width, as on CIFAR; usual in public code
    flip=True,
    load=load,
    train_images=5_000,
    class_names=lambda _: CLASS_NAMES,
    presence=OFFICIAL.presence,
)
