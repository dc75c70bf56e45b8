"""A small data set in the folder layout of TinyImageNet."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.data.sets.imagenet_layout import ExpectedCounts
from tests.data import official_layouts as layouts

COUNTS = ExpectedCounts(classes=3, train_total=12, train_min=4, train_max=4, test=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """TinyImageNet's layout: 3 classes, 4 train and 2 validation images each, one of them grey."""
    layouts.tinyimagenet(tmp_path, COUNTS)
    return tmp_path


def folder(root: Path) -> Path:
    return root / "tiny-imagenet-200"
