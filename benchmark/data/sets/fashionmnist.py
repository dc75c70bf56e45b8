"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 60,000 train and 10,000 test images, grey, 28 px.

Its licence is the MIT licence. Images keep their 28 pixels and get three equal channels, which all
networks expect. The compressed files are read, because their checksums are published.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.config.errors import UserError
from benchmark.data.files.torchvision_files import TorchvisionFiles
from benchmark.data.source import Images, Source, Split

CLASS_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801  # the IDX format: unsigned bytes, in 3 or 1 dimensions


def official_files(kind: Any) -> list[tuple[str, str]]:  # noqa: ANN401  (torchvision has no types)
    """Return names and md5s of the four files."""
    return [(name, md5) for name, md5 in kind.resources]


OFFICIAL = TorchvisionFiles(
    "Fashion-MNIST", "FashionMNIST", "FashionMNIST/raw", 31, official_files, archived=False
)


def load(root: Path) -> Split[Images]:
    """Return both parts; files that are missing are downloaded first."""
    folder = OFFICIAL.ensure_files(root)
    return Split(read_part(folder, "train"), read_part(folder, "t10k"))


def read_part(folder: Path, part: str) -> Images:
    """Return one part; ``part``: train, or t10k for the test images."""
    grey = read_idx(folder / f"{part}-images-idx3-ubyte.gz", IMAGES_MAGIC)
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", LABELS_MAGIC)
    pixels = torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1).contiguous()
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)))


def read_idx(path: Path, magic: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array in an IDX file: magic number, lengths, bytes; all numbers big-endian."""
    content = gzip.decompress(path.read_bytes())
    if int.from_bytes(content[:4], "big") != magic:
        raise UserError(f"{path} is not an IDX file of the expected kind: delete it")
    dimensions = magic & 0xFF
    shape = np.frombuffer(content, ">u4", dimensions, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


FASHION_MNIST = Source(
    name="fashionmnist",
    version=1,
    title="Fashion-MNIST, 28 px",
    classes=10,
    size=28,
    mean=(0.2860, 0.2860, 0.2860),
    std=(0.3530, 0.3530, 0.3530),
    padding=4,  # with the flip, usual in public code
    flip=True,
    load=load,
    train_images=60_000,
    class_names=lambda _: CLASS_NAMES,
    presence=OFFICIAL.presence,
)
