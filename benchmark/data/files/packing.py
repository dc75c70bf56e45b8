"""Packing image files. Each is decoded once: a broken one is found before training, not in it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.config.errors import UserError
from benchmark.data.files import pillow
from benchmark.data.files.class_folders import Listing, Member, refuse
from benchmark.data.files.decode import decoder
from benchmark.data.files.packed import (
    COLUMNS,
    ROW,
    SCHEMA,
    UNREADABLE,
    Rows,
    bar,
    done,
    manifest_of,
    reason,
)
from benchmark.data.files.prepared import PARTS, alone, digest
from benchmark.store.atomic import as_json, write_atomic

SHARD = 8192
"""Images of a shard: about a gigabyte of ImageNet's, and what an interruption costs at most."""
GROUP = 32
"""Images in a group of ``pillow.ordered``."""


class Shard(NamedTuple):
    """So many images of a part, which go into one big file."""

    part: str
    name: str
    """Of its file, without suffix; for all that its content follows from."""
    members: Sequence[Member]


class Examined(NamedTuple):
    """An image that can be decoded."""

    content: bytes
    height: int
    width: int


def pack(folder: Path, find: Callable[[], Listing]) -> None:
    """Pack the images that ``find`` lists, unless that is done; go on from what is packed already.

    Raises ``UserError`` with all that is wrong with the listing; if nothing is, with all images
    that cannot be used.
    """
    if done(folder):
        return
    listing = find()
    if listing.problems:
        raise refuse(listing.folder, listing.problems)
    with alone(folder):
        if not done(folder):  # somebody else may have been faster
            write(folder, listing)


def write(folder: Path, listing: Listing) -> None:
    """Write all shards, then the index, then the manifest."""
    for torn in [*folder.glob(".*.bin.tmp")]:
        torn.unlink()
    shards = [
        *cut("train", in_order(listing.train)),
        *cut("test", in_order(listing.test)),
    ]
    missing = [shard for shard in shards if not said(folder, shard).is_file()]
    need_room(folder, sum(member.bytes for shard in missing for member in shard.members))
    total, left = (sum(len(shard.members) for shard in some) for some in (shards, missing))
    print(f"packing {left:,} images once, to {folder}", flush=True)
    problems: list[str] = []
    with bar("images", total, total - left) as advance:
        for shard in missing:
            problems += fill(folder, listing.folder, shard, advance)
    if problems:
        raise refuse(listing.folder, sorted(problems))
    finish(folder, listing, shards)


def in_order(members: Iterable[Member]) -> list[Member]:
    """Sort by file: a folder's images are read one after the other, and packed side by side.

    That is kind to disks that turn, and to whoever reads some classes only.
    """
    return sorted(members, key=lambda member: member.file)


def cut(part: str, members: Sequence[Member]) -> Iterator[Shard]:
    """Cut a part into shards."""
    for start in range(0, len(members), SHARD):
        piece = members[start : start + SHARD]
        yield Shard(part, f"{part}-{start // SHARD:04d}-{digest(piece)[:12]}", piece)


def said(folder: Path, shard: Shard) -> Path:
    """Return where it is said what is in a shard: it exists = the shard is whole."""
    return folder / f"{shard.name}.json"


def need_room(folder: Path, size: int) -> None:
    """Say so at once where the disk is too small, not hours later."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder} has {free / 1e9:,.1f} GB left, {size / 1e9:,.1f} GB are needed")


# ---------------------------------------------------------------- a shard


def fill(folder: Path, source: Path, shard: Shard, advance: Callable[[int], None]) -> list[str]:
    """Write a shard's file, and return nothing; or a line for each image that cannot be used."""
    path = folder / f"{shard.name}.bin"
    temp = path.with_name(f".{path.name}.tmp")
    places: list[tuple[int, int, int, int]] = []
    problems: list[str] = []
    sha256 = hashlib.sha256()
    try:
        with temp.open("wb") as file:
            for found in examined(source, shard.members, advance):
                if isinstance(found, str):
                    problems.append(found)
                    continue
                places.append((file.tell(), len(found.content), found.height, found.width))
                file.write(found.content)
                sha256.update(found.content)
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        if not problems:
            temp.replace(path)
            about = {"bytes": size, "sha256": sha256.hexdigest(), "places": places}
            write_atomic(said(folder, shard), json.dumps(about).encode())
    finally:
        temp.unlink(missing_ok=True)
    return problems


def examined(
    source: Path, members: Sequence[Member], advance: Callable[[int], None]
) -> Iterator[Examined | str]:
    """Yield every image, or what is wrong with it."""
    groups = (members[i : i + GROUP] for i in range(0, len(members), GROUP))
    with closing(pillow.ordered(partial(examine, source), groups)) as results:
        for group, found in results:
            yield from found
            advance(len(group))


def examine(source: Path, member: Member) -> Examined | str:
    """Read and decode an image."""
    try:
        content = (source / member.file).read_bytes()
        image = pillow.rgb(content)
    except UNREADABLE as error:
        return f"{member.file}: {reason(error)}"
    return Examined(content, image.height, image.width)


# ---------------------------------------------------------------- the whole


def finish(folder: Path, listing: Listing, shards: Sequence[Shard]) -> None:
    """Write what makes a packed set of shards, and remove what else there is."""
    about = {shard.name: json.loads(said(folder, shard).read_bytes()) for shard in shards}
    sums = {f"{name}.bin": told["sha256"] for name, told in about.items()}
    sizes: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    for shard in shards:
        sizes[shard.part][f"{shard.name}.bin"] = about[shard.name]["bytes"]
    for part, members in zip(PARTS, (listing.train, listing.test), strict=True):
        places = [about[shard.name]["places"] for shard in shards if shard.part == part]
        buffer = io.BytesIO()
        np.save(buffer, index(members, places))
        write_atomic(folder / f"{part}.npy", buffer.getbuffer())
        sums[f"{part}.npy"] = hashlib.sha256(buffer.getbuffer()).hexdigest()
    write_atomic(manifest_of(folder), as_json(describe(listing, sizes, sums)))
    for path in [*folder.glob("*.bin"), *folder.glob("t*-*.json")]:
        if path.name not in sums:
            path.unlink()


def index(members: Sequence[Member], places: Sequence[Sequence[Sequence[int]]]) -> Rows:
    """Return a row for each image, in the data set's order, from what is where in the shards."""
    table = [(k, *place, 0) for k, shard in enumerate(places) for place in shard]
    rows: Rows = np.empty(len(members), ROW)
    files = np.array([member.file for member in members])
    rows[sorted(range(len(members)), key=files.__getitem__)] = np.array(table, ROW)
    rows["label"] = [member.label for member in members]
    return rows


def describe(
    listing: Listing, sizes: dict[str, dict[str, int]], sums: dict[str, str]
) -> dict[str, Any]:
    """Make the manifest."""
    return {
        "schema": SCHEMA,
        "images": {"train": len(listing.train), "test": len(listing.test)},
        "classes": list(listing.classes),
        "columns": list(COLUMNS),
        "examined by": decoder(),
        "source": {"folder": str(listing.folder.resolve()), "listing": digest(listing[1:4])},
        "shards": sizes,
        "sha256": sums,
    }
