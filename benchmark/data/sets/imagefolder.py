"""Anybody's own images: a folder with train/<class>/* and test/<class>/* or val/<class>/*.

Every image is scaled so that its shorter side is of the size asked for, and its centre is kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from benchmark.config.errors import UserError
from benchmark.config.recipe import as_folder_name
from benchmark.data.files.class_folders import (
    ImageFile,
    Listing,
    Scan,
    class_folders,
    interleave_classes,
    list_image_files,
)
from benchmark.data.files.prepared import Prepared, json_sha256, prepared_folder
from benchmark.data.source import Presence, Source

PREFIX = "imagefolder/"
NAME = re.compile(r"imagefolder/(?P<path>.+)@(?P<size>[1-9][0-9]*)")


def parse_source(name: str, root: Path) -> Source:
    """Return the data set `imagefolder/PATH@SIZE`. Raises ``UserError`` where there is none."""
    match = NAME.fullmatch(name)
    if match is None:
        raise UserError(f"'{name}': expected imagefolder/PATH@SIZE, as in imagefolder/birds@64")
    return imagefolder_source(root, match["path"], int(match["size"]))


def imagefolder_source(root: Path, path: str, size: int) -> Source:
    """Return the data set in a folder, seen from the data root, as squares of ``size`` pixels.

    Its version follows from the names and sizes of its files: other images, other runs. Raises
    ``UserError`` where there is no such folder.
    """
    listing = list_images(root / path)
    key = json_sha256([size, listing.classes, listing.train, listing.test])
    name = f"{PREFIX}{path}@{size}"
    prepared = Prepared(prepared_folder(root, as_folder_name(name), key[:10]), size, fit=True)
    return Source(
        name=name,
        version=int(key[:8], 16),
        title=f"{listing.folder.resolve().name}, {size} px",
        classes=len(listing.classes),
        size=size,
        # ImageNet's: close to any photographs', and the same whatever the folder holds.
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        padding=size // 8,  # as on CIFAR
        flip=True,
        load=lambda _: prepared.load(lambda: listing),
        presence=lambda _: Presence(path, todo="" if prepared.exists() else "to be decoded once"),
        verify=lambda _: prepared.verify(),
    )


def list_images(folder: Path) -> Listing:
    """List the images of a folder, what is ignored in it, and what is wrong with it."""
    if not folder.is_dir():
        raise UserError(f"there is no folder of images at {folder.resolve()}")
    scan = Scan()
    names = class_folders(folder / "train", scan)
    other = "test" if class_folders(folder / "test") else "val"
    other_names = class_folders(folder / other, scan)
    train = [list_image_files(folder, f"train/{name}", i, scan) for i, name in enumerate(names)]
    test = [
        list_image_files(folder, f"{other}/{name}", i, scan) if name in other_names else []
        for i, name in enumerate(names)
    ]
    count_unread_entries(folder, ("train", other), scan)
    problems = [
        *missing_folder_parts(names, other_names),
        *missing_images(names, {"train": train, other: test} if other_names else {"train": train}),
        *(f"{other}/{name}: is no class of train" for name in other_names if name not in names),
        *scan.problems,
    ]
    return Listing(
        folder,
        tuple(names),
        (*interleave_classes(train),),
        (*interleave_classes(test),),
        tuple(problems),
        scan.ignored_lines(),
    )


def count_unread_entries(folder: Path, parts: tuple[str, str], scan: Scan) -> None:
    """Count what lies beside the folders of the two parts."""
    for entry in os.scandir(folder):
        if entry.name not in parts:
            scan.ignored[f"beside {' and '.join(parts)} ({entry.name})"] += 1


def missing_folder_parts(names: list[str], other_names: list[str]) -> Iterator[str]:
    """Name the parts that are not there."""
    if not names:
        yield "train: is missing or holds no class folders"
    if not other_names:
        yield "test (or val): is missing or holds no class folders"


def missing_images(names: list[str], parts: dict[str, list[list[ImageFile]]]) -> Iterator[str]:
    """Name the classes without a single image."""
    for part, by_class in parts.items():
        empty = (name for name, files in zip(names, by_class, strict=True) if not files)
        yield from (f"{part}/{name}: holds no images" for name in empty)
