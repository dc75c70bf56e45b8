"""List the images of class folders, in the order that defines the data set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from benchmark.config.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
MAX_LISTED_PROBLEMS = 20


class ImageFile(NamedTuple):
    """One image."""

    file: str
    """Path relative to the data set's folder, with slashes."""
    bytes: int
    label: int


class Listing(NamedTuple):
    """All images of a data set, in order, and the problems that the listing alone shows."""

    folder: Path
    classes: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]
    problems: tuple[str, ...] = ()


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; none if it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and e.name[0] != ".")


def list_image_files(root: Path, inside: str, label: int) -> list[ImageFile]:
    """Return the image files of a folder under ``root``, sorted by name."""
    folder = root / inside
    found = (e for e in os.scandir(folder) if e.name[0] != "." and is_image(e.name))
    # macOS leaves files like ._0.jpeg beside 0.jpeg.
    return sorted(ImageFile(f"{inside}/{e.name}", e.stat().st_size, label) for e in found)


def is_image(name: str) -> bool:
    """Return whether a file name ends like an image's."""
    return name.lower().endswith(SUFFIXES)


def list_class_images(root: Path, inside: str, label: int) -> list[ImageFile]:
    """Return a class folder's images; they may be in a folder `images` inside it."""
    deeper = f"{inside}/images"
    return list_image_files(root, deeper if (root / deeper).is_dir() else inside, label)


def interleave_classes(by_class: Iterable[Sequence[ImageFile]]) -> Iterator[ImageFile]:
    """Interleave classes: the first image of every class, then the second of every class.

    So ``dataset.limit``, which keeps the first images, keeps all classes.
    """
    for row in zip_longest(*by_class):
        yield from (member for member in row if member is not None)


def problems_error(folder: Path, problems: Sequence[str]) -> UserError:
    """Return one message with all problems, a line each; of very many only the first."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = [
        f"{folder.resolve()} cannot be used as it is: {count}",
        *problems[:MAX_LISTED_PROBLEMS],
    ]
    if len(problems) > MAX_LISTED_PROBLEMS:
        lines.append(f"and {len(problems) - MAX_LISTED_PROBLEMS} more")
    return UserError("\n  ".join(lines))
