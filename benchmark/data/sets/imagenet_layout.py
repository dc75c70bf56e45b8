"""Checks that ImageNet and TinyImageNet share.

Both keep train images in class folders named by WordNet id (wnid). Both are distributed with all
validation images in one folder and a table of their classes, and many copies have sorted them into
class folders instead. Both have known numbers of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from benchmark.config.errors import UserError
from benchmark.data.files.class_folders import ImageFile, Scan, class_folders, list_image_files

Labels = Mapping[str, int]
"""The class number of each wnid, in the order of the numbers."""
ByClass = list[list[ImageFile]]
"""The images of each class, in the order of the class numbers."""


class ExpectedCounts(NamedTuple):
    """The size of a complete copy."""

    classes: int
    train_total: int
    train_min: int
    """The fewest train images of a class."""
    train_max: int
    """The most train images of a class."""
    test: int
    """Test images of each class."""


def require_folder(folder: Path, title: str, remedy: str) -> None:
    """Raise ``UserError`` with the remedy if there is no copy of the data set at ``folder``."""
    if not folder.is_dir():
        raise UserError(
            f"{title} is not at {folder.resolve()}: {remedy}, or name its folder with --data-root "
            "or the environment variable KD_DATA."
        )


def list_by_class(folder: Path, part: str, labels: Labels, scan: Scan) -> ByClass:
    """List the images in the class folders of a part; a class without a folder has none."""
    existing = set(class_folders(folder / part))
    return [
        list_image_files(folder, f"{part}/{wnid}", label, scan) if wnid in existing else []
        for wnid, label in labels.items()
    ]


def count_problems(
    part: str, wnids: Iterable[str], by_class: ByClass, least: int, most: int
) -> Iterator[str]:
    """Yield a line for each class with fewer than ``least`` or more than ``most`` images."""
    expected = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    for wnid, files in zip(wnids, by_class, strict=False):  # by_class is empty without the part
        if not least <= len(files) <= most:
            yield f"{part}/{wnid}: {len(files):,} images, {expected} expected"


class TableMatch(NamedTuple):
    """Images in one folder, compared with the table of their classes."""

    by_class: ByClass
    unknown_classes: dict[str, str]
    """Maps the names of images whose class is not among the labels to their wnids."""
    missing: list[str]
    """Names that only the table has."""
    unlisted: list[str]
    """Names that only the folder has."""


def match_table(
    wnid_of: Mapping[str, str], files: Mapping[str, ImageFile], labels: Labels
) -> TableMatch:
    """Sort images into classes by a table from names to wnids."""
    match = TableMatch([[] for _ in labels], {}, [], sorted(files.keys() - wnid_of.keys()))
    for name, wnid in sorted(wnid_of.items()):
        if wnid not in labels:
            match.unknown_classes[name] = wnid
        elif name not in files:
            match.missing.append(name)
        else:
            match.by_class[labels[wnid]].append(files[name]._replace(label=labels[wnid]))
    return match


def index_by_name(
    files: Iterable[ImageFile], suffix: bool
) -> tuple[dict[str, ImageFile], list[str]]:
    """Return images by name, and a line for each whose name another has.

    ``suffix``: whether the suffix is part of the name.
    """
    index: dict[str, ImageFile] = {}
    problems = []
    for file in files:
        path = PurePath(file.file)
        first = index.setdefault(path.name if suffix else path.stem, file)
        if first is not file:
            problems.append(f"{file.file}: has the same name as {first.file}")
    return index, problems


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file. Raises ``UserError`` if it is no text."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: {error}") from error


def missing_parts(folder: Path) -> tuple[str, ...]:
    """Return which of the folders train and val are missing."""
    return tuple(name for name in ("train", "val") if not (folder / name).is_dir())


def label_classes(wnids: Sequence[str]) -> Labels:
    """Number the classes 0, 1, ... in this order."""
    return {wnid: label for label, wnid in enumerate(wnids)}
