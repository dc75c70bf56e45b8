"""The data sets, by name, and the stream of augmented batches that a cohort shares."""

from __future__ import annotations

from benchmark.data import cifar, digits, fashionmnist, stl10, tinyimagenet
from benchmark.data.source import Images, Source, Split

__all__ = ["SOURCES", "Images", "Source", "Split"]

SOURCES = {
    source.name: source
    for source in (
        digits.DIGITS,
        cifar.CIFAR10,
        cifar.CIFAR100,
        fashionmnist.FASHION_MNIST,
        stl10.STL10,
        tinyimagenet.TINY_IMAGENET,
    )
}
