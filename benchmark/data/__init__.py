"""The data sets, by name, and the stream of augmented batches that a cohort shares."""

from __future__ import annotations

from benchmark.data import cifar, digits
from benchmark.data.source import Images, Source, Split

__all__ = ["SOURCES", "Images", "Source", "Split"]

SOURCES = {source.name: source for source in (digits.DIGITS, cifar.CIFAR100)}
