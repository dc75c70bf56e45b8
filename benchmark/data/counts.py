"""How many images a data set has, known without reading it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from benchmark.config.recipe import DatasetConfig
from benchmark.data import find_data_set
from benchmark.data.sets import imagefolder, imagenet

IMAGE_COUNTS = {
    "digits": (599, 1198),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "fashionmnist": (60_000, 10_000),
    "stl10": (5_000, 8_000),
    "tinyimagenet": (100_000, 10_000),
    "imagenet": (1_281_167, 50_000),
    "imagenet@imagenet100": (127_000, 5_000),
}
"""Numbers of train and test images, so that planning needs no data set on disk."""


def image_counts(dataset: DatasetConfig, root: Path | None = None) -> tuple[int, int] | None:
    """Return the numbers of train and test images; None for a data set of unknown size.

    Those of an image folder are counted under ``root``, a data root. Raises ``UserError`` where
    there is no such folder.
    """
    known = IMAGE_COUNTS.get(dataset.name)
    if known is None and root is not None and dataset.name.startswith(imagefolder.PREFIX):
        known = _folder_counts(dataset.name, root.resolve())
    if known is None:
        return None if dataset.limit is None else (dataset.limit, dataset.limit)
    return _limited(dataset, *known)


def about_image_counts(dataset: DatasetConfig, root: Path | None) -> tuple[int, int] | None:
    """Return ``image_counts``; of a list of ImageNet's classes the share of ImageNet's."""
    if (
        root is None
        or dataset.name in IMAGE_COUNTS
        or not dataset.name.startswith(f"{imagenet.NAME}@")
    ):
        return image_counts(dataset, root)
    share = find_data_set(dataset.name, root).classes / 1000
    train, test = IMAGE_COUNTS[imagenet.NAME]
    return _limited(dataset, round(train * share), round(test * share))


def _limited(dataset: DatasetConfig, train: int, test: int) -> tuple[int, int]:
    """Return the numbers of images that a run uses of a data set's."""
    if dataset.validation is not None:
        train, test = train - dataset.validation, dataset.validation
    return min(dataset.limit or train, train), min(dataset.limit or test, test)


@lru_cache(maxsize=64)  # a plan asks once for each run
def _folder_counts(name: str, root: Path) -> tuple[int, int]:
    path = name.removeprefix(imagefolder.PREFIX).rpartition("@")[0]
    listing = imagefolder.list_images(root / path)
    return len(listing.train), len(listing.test)
