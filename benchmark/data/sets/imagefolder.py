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
from benchmark.data.files import contents
from benchmark.data.files.checksums import json_sha256
from benchmark.data.files.class_folders import (
    ImageFile,
    Listing,
    Scan,
    class_folders,
    interleave_classes,
    list_image_files,
)
from benchmark.data.files.prepared import Prepared
from benchmark.data.files.prepared_path import MANIFEST, prepared_folder, prepared_path
from benchmark.data.source import LARGEST_SIZE, Images, Presence, Source, Split

PREFIX = "imagefolder/"
UNKNOWN_SIZE = "SIZE"
"""In the name of a folder that was prepared in no size."""
OTHER_SETS = ("imagenet", "tiny-imagenet-200")
"""Folders of data sets with readers of their own."""
NAME = re.compile(r"imagefolder/(?P<path>.+)@(?P<size>[1-9][0-9]*)")


def parse_source(name: str, root: Path) -> Source:
    """Return the data set `imagefolder/PATH@SIZE`. Raises ``UserError`` where there is none."""
    match = NAME.fullmatch(name)
    if match is None:
        raise UserError(f"'{name}': expected imagefolder/PATH@SIZE, as in imagefolder/birds@64")
    if len(match["size"]) > len(str(LARGEST_SIZE)) or int(match["size"]) > LARGEST_SIZE:
        raise UserError(f"'{name}': the size is more than {LARGEST_SIZE} pixels")
    return imagefolder_source(root, match["path"], int(match["size"]))


def imagefolder_source(root: Path, path: str, size: int) -> Source:
    """Return the data set in a folder, relative to the data root, as squares of ``size`` pixels.

    Its version follows from the names, sizes and contents of its files; see ``identify``. Raises
    ``UserError`` if there is no such folder.
    """
    listing, name = list_images(root / path), f"{PREFIX}{path}@{size}"
    plain_key = json_sha256([size, listing.classes, listing.train, listing.test])
    # Beside the prepared set, so that it stays if that is deleted.
    record = prepared_path(root, f"{as_folder_name(name)}-{plain_key[:10]}.contents.json")
    images = contents.examine(listing, record)
    key = identify(plain_key, images)
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
        train_images=len(listing.train),
        fitted=True,
        class_names=lambda _: listing.classes,
        ignored=listing.ignored,
        load=lambda _: load(prepared, listing, images, record),
        presence=lambda _: Presence(path, todo=todo(prepared, listing)),
        verify=lambda _: prepared.verify(),
    )


def todo(prepared: Prepared, listing: Listing) -> str:
    """Return what has to be done before training; empty if nothing."""
    if prepared.exists():
        return ""
    count = len(listing.problems)
    problems = f"; `data prepare` will name {count} problem{'s' * (count > 1)}" if count else ""
    return f"to be decoded once{problems}"


def find_folders(root: Path) -> list[str]:
    """Return the names of the image folders under a data root, at most two levels down.

    A folder that was prepared in no size has the name `imagefolder/PATH@SIZE`, with that word SIZE.
    """
    names = []
    for train in sorted([*root.glob("*/train"), *root.glob("*/*/train")]):
        path = train.parent.relative_to(root).as_posix()
        if path.split("/")[0] in OTHER_SETS or path[0] == "." or not class_folders(train):
            continue
        folder = as_folder_name(f"{PREFIX}{path}@")
        sets = prepared_path(root, "x").parent, root / ".prepared"
        found = {f.parent.name for place in sets for f in place.glob(f"{folder}*/{MANIFEST}")}
        sizes = {name.removeprefix(folder).lstrip("-").split("-")[0] for name in found}
        known = sorted((size for size in sizes if size.isdecimal()), key=int)
        names += [f"{PREFIX}{path}@{size}" for size in known or [UNKNOWN_SIZE]]
    return names


def identify(plain_key: str, images: contents.Contents) -> str:
    """Return the key that the version is made of.

    ``plain_key``, from names and sizes, is that of most folders. Other contents than the first
    under the same names have another key, and so have folders with 16-bit grey images, which were
    decoded to white once.
    """
    differs = [images.sha256] if images.sha256 != images.first else []
    differs += ["16-bit grey is scaled"] if images.deep else []
    return json_sha256([plain_key, *differs]) if differs else plain_key


def load(
    prepared: Prepared, listing: Listing, images: contents.Contents, record: Path
) -> Split[Images]:
    """Open the prepared images; the first time, decode those of the folder.

    Raises ``UserError`` if images change while they are decoded.
    """
    images = contents.hash_first(images, listing)
    fresh = not prepared.exists()
    split = prepared.load(lambda: listing)
    if fresh and contents.stamp_files(listing.folder, contents.all_files(listing)) != images.stamp:
        prepared.manifest.unlink()
        raise UserError(f"images in {listing.folder.resolve()} changed while they were decoded")
    contents.keep(images, record)
    return split


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
