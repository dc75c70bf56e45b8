"""List the images of class folders, in the order that defines the data set.

Every entry of a folder is an image, or is ignored by a rule that is counted, or is a problem.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path, PurePath
from typing import NamedTuple

from benchmark.config.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
"""As in torchvision's ImageFolder; upper and lower case count alike."""
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
    ignored: tuple[str, ...] = ()
    """A line for each rule by which entries were ignored, with their number."""


@dataclass
class Scan:
    """What was met in folders besides images."""

    ignored: Counter[str] = field(default_factory=Counter)
    """Number of entries by the rule that ignores them."""
    problems: list[str] = field(default_factory=list)

    def ignored_lines(self) -> tuple[str, ...]:
        """Return a line for each rule."""
        return tuple(f"ignored: {n:,} {rule}" for rule, n in sorted(self.ignored.items()))


HIDDEN = "hidden (the name begins with a dot)"
BESIDE = "beside the class folders of {}"


def class_folders(folder: Path, scan: Scan | None = None) -> list[str]:
    """Return the names of the folders in a folder, sorted; none if it does not exist."""
    if not folder.is_dir():
        return []
    scan, names = scan or Scan(), []
    for entry in os.scandir(folder):
        if entry.name[0] == ".":
            scan.ignored[HIDDEN] += 1
        elif is_folder(entry):
            names.append(entry.name)
        elif entry.is_symlink() and not Path(entry).exists():
            scan.problems.append(f"{folder.name}/{entry.name}: is a link to nothing")
        else:
            scan.ignored[BESIDE.format(folder.name)] += 1
    return sorted(names)


def list_image_files(root: Path, inside: str, label: int, scan: Scan) -> list[ImageFile]:
    """Return the image files of a folder under ``root`` and of its subfolders, sorted by path."""
    images: list[ImageFile] = []
    waiting: list[tuple[str, tuple[FolderIdentity, ...]]] = [(inside, ())]
    while waiting:
        folder, above = waiting.pop()
        identity = folder_identity(root / folder)
        if identity in above:
            scan.problems.append(f"{folder}: is a link to a folder that it lies in")
            continue
        for entry in os.scandir(root / folder):
            path = f"{folder}/{entry.name}"
            if entry.name[0] == ".":  # macOS leaves files like ._0.jpeg beside 0.jpeg
                scan.ignored[HIDDEN] += 1
            elif is_folder(entry):
                waiting.append((path, (*above, identity)))
            elif not is_image(entry.name):
                suffix = PurePath(entry.name).suffix.lower()
                scan.ignored[f"named {suffix}" if suffix else "without a suffix"] += 1
            elif (size := regular_size(entry, path, scan)) is not None:
                images.append(ImageFile(path, size, label))
    return sorted(images)


FolderIdentity = tuple[int, int]
"""Device and inode: equal if two paths lead to one folder."""


def folder_identity(folder: Path) -> FolderIdentity:
    """Return the identity of a folder; links are followed."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link to itself is not."""
    return Path(entry).is_dir() if entry.is_symlink() else entry.is_dir()


def regular_size(entry: os.DirEntry[str], path: str, scan: Scan) -> int | None:
    """Return the size of a regular file; None, and a problem, for anything else."""
    try:
        status = entry.stat()
    except OSError as error:
        scan.problems.append(f"{path}: is a link to nothing ({error.strerror})")
        return None
    if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait forever
        scan.problems.append(f"{path}: is no regular file ({stat.filemode(status.st_mode)[0]})")
        return None
    return status.st_size


def is_image(name: str) -> bool:
    """Return whether a file name ends like an image's."""
    return name.lower().endswith(SUFFIXES)


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
        *map(printable, problems[:MAX_LISTED_PROBLEMS]),
    ]
    if len(problems) > MAX_LISTED_PROBLEMS:
        lines.append(f"and {len(problems) - MAX_LISTED_PROBLEMS} more")
    return UserError("\n  ".join(lines))


def printable(line: str) -> str:
    """Escape what a file name may hold and a line of text may not."""
    return line.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def note_lines(notes: Counter[str]) -> list[str]:
    """Return a line for each note on how images are read, with the number of images."""
    return [f"note: {n:,} images {note}" for note, n in sorted(notes.items())]


def print_lines(lines: Iterable[str]) -> None:
    """Print lines such as those of ``Listing.ignored``."""
    for line in lines:
        print(printable(line), flush=True)
