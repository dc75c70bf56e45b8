"""Tell apart image folders whose files have equal names and sizes but other contents.

Hashing all images takes seconds, so it is done once; later, times of change are compared, and
contents are hashed again only where those differ. What was found is kept in a file beside the
prepared set, which stays if the set is deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from benchmark.config.errors import UserError
from benchmark.data.files.checksums import file_sha256, json_sha256
from benchmark.data.files.class_folders import ImageFile, Listing
from benchmark.data.files.colour_modes import grey_range
from benchmark.data.files.decode import DECODE_ERRORS
from benchmark.store.atomic import encode_json, write_atomic

CAN_BE_DEEP = (".png", ".tif", ".tiff", ".pgm", ".ppm")


class Contents(NamedTuple):
    """What is known of the images of a folder."""

    stamp: str
    """Hash of the files' times of change, sizes and inodes."""
    sha256: str
    """Hash of the files' contents at that time; empty if they were never prepared."""
    first: str
    """The same hash when images of these names and sizes were first prepared."""
    deep: int
    """Number of grey images of more than 8 bits."""


def examine(listing: Listing, path: Path) -> Contents:
    """Return what is known of the images now; hash them only if they may have changed.

    ``path``: the file that ``keep`` wrote. Raises ``UserError`` if it is damaged.
    """
    known, stamp = read_contents(path), stamp_files(listing.folder, all_files(listing))
    if known is not None and known.stamp == stamp:
        return known
    deep = count_deep_images(listing.folder, all_files(listing), stamp)
    if known is None:
        return Contents(stamp, "", "", deep)
    return Contents(
        stamp, hash_contents(listing.folder, all_files(listing), stamp), known.first, deep
    )


def hash_first(contents: Contents, listing: Listing) -> Contents:
    """Return what is known of the images, with their hash, if they were never prepared before."""
    if contents.sha256:
        return contents
    sha256 = hash_contents(listing.folder, all_files(listing), contents.stamp)
    return contents._replace(sha256=sha256, first=sha256)


def keep(contents: Contents, path: Path) -> None:
    """Write what is known, unless the file says so already or cannot be written."""
    if read_contents(path) != contents and os.access(path.parent, os.W_OK):
        write_atomic(path, encode_json(contents._asdict()))


def read_contents(path: Path) -> Contents | None:
    """Return what was known, or None. Raises ``UserError`` if the file is damaged."""
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Contents).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{path} is damaged: it is not what this version writes. Delete it if you are sure "
            "that the images are those of earlier runs."
        ) from error


def all_files(listing: Listing) -> tuple[ImageFile, ...]:
    """Return the files of both parts."""
    return (*listing.train, *listing.test)


def stamp_files(folder: Path, files: Iterable[ImageFile]) -> str:
    """Return a hash that differs if a file was written, replaced or touched."""
    states = (os.stat(folder / member.file) for member in files)  # noqa: PTH116 (twice as fast)
    return json_sha256([(s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino) for s in states])


@lru_cache(maxsize=8)
def hash_contents(folder: Path, files: tuple[ImageFile, ...], stamp: str) -> str:
    """Return a hash of the contents of files; ``stamp``: makes a cached hash invalid."""
    del stamp
    paths = [folder / member.file for member in files]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return json_sha256([*pool.map(file_sha256, paths)])


@lru_cache(maxsize=8)
def count_deep_images(folder: Path, files: tuple[ImageFile, ...], stamp: str) -> int:
    """Return how many images are grey with more than 8 bits; only headers are read."""
    del stamp
    candidates = [m.file for m in files if m.file.lower().endswith(CAN_BE_DEEP)]
    return sum(is_deep(folder / file) for file in candidates)


def is_deep(path: Path) -> bool:
    """Return whether an image is grey with more than 8 bits; False for what is no image."""
    try:
        with Image.open(path) as image:
            return grey_range(image) is not None
    except (*DECODE_ERRORS, Image.DecompressionBombError):
        return False  # decoding it will name the problem
