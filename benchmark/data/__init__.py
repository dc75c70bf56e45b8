"""The data sets, by name, and the stream of augmented batches that a cohort shares.

Imports `config`, `processes`, `store` and `models`. Read `source.py` first, then `stream.py`;
`sets/digits.py` is the shortest data set.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.config.errors import UserError, suggest
from benchmark.data.sets import (
    cifar,
    digits,
    fashionmnist,
    imagefolder,
    imagenet,
    stl10,
    tinyimagenet,
)
from benchmark.data.source import Images, Source, Split

__all__ = ["SOURCES", "Images", "Source", "Split", "find_data_set", "is_local"]

SOURCES = {
    source.name: source
    for source in (
        digits.DIGITS,
        cifar.CIFAR10,
        cifar.CIFAR100,
        fashionmnist.FASHION_MNIST,
        stl10.STL10,
        tinyimagenet.TINY_IMAGENET,
        imagenet.imagenet_source(Path()),
    )
}


def find_data_set(name: str, root: Path) -> Source:
    """Return the data set of a name. Raises ``UserError`` for an unknown one.

    `imagefolder/PATH@SIZE` is a folder of images under the data root, as squares of SIZE pixels.
    `imagenet@LIST` is ImageNet with the classes of a list only. Other names do not need ``root``.
    """
    if name in SOURCES:
        return SOURCES[name]
    if name.startswith(imagefolder.PREFIX):
        return imagefolder.parse_source(name, root)
    if name.startswith(f"{imagenet.NAME}@"):
        return imagenet.imagenet_source(root, name.partition("@")[2])
    raise UserError(suggest(name, SOURCES, "data set"))


def is_local(name: str) -> bool:
    """Whether a data set of this name is defined by files under the data root."""
    return name not in SOURCES
