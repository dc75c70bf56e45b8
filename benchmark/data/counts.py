"""How many images a data set has, known without reading it."""

from __future__ import annotations

from benchmark.config.recipe import DatasetConfig

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


def image_counts(dataset: DatasetConfig) -> tuple[int, int] | None:
    """Return the numbers of train and test images; None for a data set of unknown size."""
    known = IMAGE_COUNTS.get(dataset.name)
    if known is None:
        return None if dataset.limit is None else (dataset.limit, dataset.limit)
    train, test = known
    if dataset.validation is not None:
        train, test = train - dataset.validation, dataset.validation
    limit = dataset.limit or train
    return min(limit, train), min(dataset.limit or test, test)
