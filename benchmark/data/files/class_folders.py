"""Class folders of image files: what is in them, in the order that makes a data set of it."""

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
    """Seen from the data set's folder, with slashes."""
    bytes: int
    label: int


class Listing(NamedTuple):
    """All images of a data set, in order, and what is wrong with them at first sight."""

    folder: Path
    classes: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]
    problems: tuple[str, ...] = ()


def class_folders(folder: Path) -> list[str]:
    """Name the folders in a folder, sorted; none where it is not there."""
    if not folder.is_dir():
        return []
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and e.name[0] != ".")


def list_image_files(root: Path, inside: str, label: int) -> list[ImageFile]:
    """List the image files that lie in a folder under ``root``, sorted by name."""
    folder = root / inside
    found = (e for e in os.scandir(folder) if e.name[0] != "." and is_image(e.name))
    # A mark of folders that were on a Mac: ._0.jpeg beside 0.jpeg.
    return sorted(ImageFile(f"{inside}/{e.name}", e.stat().st_size, label) for e in found)


def is_image(name: str) -> bool:
    """Go by the name's ending."""
    return name.lower().endswith(SUFFIXES)


def list_class_images(root: Path, inside: str, label: int) -> list[ImageFile]:
    """List a class folder's images; they may lie in a folder `images` in it."""
    deeper = f"{inside}/images"
    return list_image_files(root, deeper if (root / deeper).is_dir() else inside, label)


def interleave_classes(by_class: Iterable[Sequence[ImageFile]]) -> Iterator[ImageFile]:
    """Order images like dealt cards: the first of every class, then the second of every class.

    So ``dataset.limit``, which keeps the first ones, keeps all classes.
    """
    for row in zip_longest(*by_class):
        yield from (member for member in row if member is not None)


def problems_error(folder: Path, problems: Sequence[str]) -> UserError:
    """Make one message of all that is wrong: each on a line, of very many the first ones."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = [
        f"{folder.resolve()} cannot be used as it is: {count}",
        *problems[:MAX_LISTED_PROBLEMS],
    ]
    if len(problems) > MAX_LISTED_PROBLEMS:
        lines.append(f"and {len(problems) - MAX_LISTED_PROBLEMS} more")
    return UserError("\n  ".join(lines))
