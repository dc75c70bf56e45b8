"""Pack image files. Each is decoded once, so that damaged ones are found before training."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmark.config.errors import UserError
from benchmark.data.files import pillow
from benchmark.data.files.checksums import json_sha256
from benchmark.data.files.class_folders import (
    ImageFile,
    Listing,
    note_lines,
    print_lines,
    problems_error,
)
from benchmark.data.files.colour_modes import describe
from benchmark.data.files.contents import stamp_files
from benchmark.data.files.decode import decoder_version
from benchmark.data.files.packed import (
    IMAGE_ERRORS,
    INDEX_COLUMNS,
    INDEX_DTYPE,
    SCHEMA,
    IndexRows,
    count_progress,
    decode_problem,
    is_packed,
    packed_manifest_path,
)
from benchmark.data.files.prepared import PARTS, exclusive_access
from benchmark.store.atomic import encode_json, write_atomic

IMAGES_PER_PACKED_SHARD = 8192
"""Images in a shard: about a gigabyte of ImageNet, and the most that an interruption costs."""
IMAGES_PER_GROUP = 32
"""Images in a group of ``pillow.ordered``."""


class ShardPlan(NamedTuple):
    """Some images of a part, which go into one big file."""

    part: str
    name: str
    """File name without suffix; it identifies everything that the content depends on."""
    members: Sequence[ImageFile]


class CheckedImage(NamedTuple):
    """An image that can be decoded."""

    content: bytes
    height: int
    width: int
    notes: tuple[str, ...] = ()
    """See ``colour_modes.describe``."""


def pack(folder: Path, find: Callable[[], Listing]) -> None:
    """Pack the images that ``find`` lists, unless they are packed; continue after an interruption.

    Raises ``UserError`` with all problems of the listing, or, if there is none, with all images
    that cannot be used.
    """
    if is_packed(folder):
        return
    listing = find()
    if listing.problems:
        raise problems_error(listing.folder, listing.problems)
    with exclusive_access(folder):
        if not is_packed(folder):  # another process may have finished it
            write_packed_set(folder, listing)


def write_packed_set(folder: Path, listing: Listing) -> None:
    """Write all shards, then the index, then the manifest."""
    print_lines(listing.ignored)
    for torn in [*folder.glob(".*.bin.tmp")]:
        torn.unlink()
    shards = [
        *plan_shards(listing.folder, "train", sorted_by_file(listing.train)),
        *plan_shards(listing.folder, "test", sorted_by_file(listing.test)),
    ]
    missing = [shard for shard in shards if not shard_record_path(folder, shard).is_file()]
    check_disk_space(folder, sum(member.bytes for shard in missing for member in shard.members))
    total, left = (sum(len(shard.members) for shard in some) for some in (shards, missing))
    print(f"packing {left:,} images once, to {folder}", flush=True)
    problems: list[str] = []
    with count_progress("images", total, total - left) as advance:
        for shard in missing:
            problems += write_shard(folder, listing.folder, shard, advance)
    if problems:
        raise problems_error(listing.folder, sorted(problems))
    write_index_and_manifest(folder, listing, shards)


def sorted_by_file(members: Iterable[ImageFile]) -> list[ImageFile]:
    """Sort by file, so that a folder's images are read in sequence and packed side by side.

    This is faster on hard disks, and for reading a few classes only.
    """
    return sorted(members, key=lambda member: member.file)


def plan_shards(source: Path, part: str, members: Sequence[ImageFile]) -> Iterator[ShardPlan]:
    """Cut a part into shards."""
    for start in range(0, len(members), IMAGES_PER_PACKED_SHARD):
        piece = members[start : start + IMAGES_PER_PACKED_SHARD]
        key = json_sha256([piece, stamp_files(source, piece)])[:12]
        yield ShardPlan(part, f"{part}-{start // IMAGES_PER_PACKED_SHARD:04d}-{key}", piece)


def shard_record_path(folder: Path, shard: ShardPlan) -> Path:
    """Return the path of a shard's description. If it exists, the shard is complete."""
    return folder / f"{shard.name}.json"


def check_disk_space(folder: Path, size: int) -> None:
    """Raise ``UserError`` now if the disk is too small, not hours later."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder} has {free / 1e9:,.1f} GB left, {size / 1e9:,.1f} GB are needed")


# ---------------------------------------------------------------- a shard


def write_shard(
    folder: Path, source: Path, shard: ShardPlan, advance: Callable[[int], None]
) -> list[str]:
    """Write a shard's file; return a line for each image that cannot be used."""
    path = folder / f"{shard.name}.bin"
    temp = path.with_name(f".{path.name}.tmp")
    places: list[tuple[int, int, int, int]] = []
    problems: list[str] = []
    notes: Counter[str] = Counter()
    sha256 = hashlib.sha256()
    try:
        with temp.open("wb") as file:
            for found in check_images(source, shard.members, advance):
                if isinstance(found, str):
                    problems.append(found)
                    continue
                notes.update(found.notes)
                places.append((file.tell(), len(found.content), found.height, found.width))
                file.write(found.content)
                sha256.update(found.content)
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        if not problems:
            temp.replace(path)
            about = {"bytes": size, "sha256": sha256.hexdigest(), "places": places}
            write_atomic(shard_record_path(folder, shard), json.dumps(about).encode())
    finally:
        temp.unlink(missing_ok=True)
    print_lines(note_lines(notes))
    return problems


def check_images(
    source: Path, members: Sequence[ImageFile], advance: Callable[[int], None]
) -> Iterator[CheckedImage | str]:
    """Yield every image, or a line about what is wrong with it."""
    groups = (members[i : i + IMAGES_PER_GROUP] for i in range(0, len(members), IMAGES_PER_GROUP))
    with closing(pillow.map_groups(partial(check_image, source), groups)) as results:
        for group, found in results:
            yield from found
            advance(len(group))


def check_image(source: Path, member: ImageFile) -> CheckedImage | str:
    """Read and decode an image."""
    try:
        content = (source / member.file).read_bytes()
        image = pillow.decode_rgb(content)
    except IMAGE_ERRORS as error:
        return f"{member.file}: {decode_problem(error)}"
    notes = tuple(describe(Image.open(io.BytesIO(content))))
    return CheckedImage(content, image.height, image.width, notes)


# ---------------------------------------------------------------- the whole


def write_index_and_manifest(folder: Path, listing: Listing, shards: Sequence[ShardPlan]) -> None:
    """Write index and manifest, and remove files that do not belong to the set."""
    about = {
        shard.name: json.loads(shard_record_path(folder, shard).read_bytes()) for shard in shards
    }
    sums = {f"{name}.bin": record["sha256"] for name, record in about.items()}
    sizes: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    for shard in shards:
        sizes[shard.part][f"{shard.name}.bin"] = about[shard.name]["bytes"]
    for part, members in zip(PARTS, (listing.train, listing.test), strict=True):
        places = [about[shard.name]["places"] for shard in shards if shard.part == part]
        buffer = io.BytesIO()
        np.save(buffer, build_index(members, places))
        write_atomic(folder / f"{part}.npy", buffer.getbuffer())
        sums[f"{part}.npy"] = hashlib.sha256(buffer.getbuffer()).hexdigest()
    write_atomic(packed_manifest_path(folder), encode_json(packed_manifest(listing, sizes, sums)))
    for path in [*folder.glob("*.bin"), *folder.glob("t*-*.json")]:
        if path.name not in sums:
            path.unlink()


def build_index(
    members: Sequence[ImageFile], places: Sequence[Sequence[Sequence[int]]]
) -> IndexRows:
    """Return the index: a row for each image, in the data set's order."""
    table = [(k, *place, 0) for k, shard in enumerate(places) for place in shard]
    rows: IndexRows = np.empty(len(members), INDEX_DTYPE)
    files = np.array([member.file for member in members])
    rows[sorted(range(len(members)), key=files.__getitem__)] = np.array(table, INDEX_DTYPE)
    rows["label"] = [member.label for member in members]
    return rows


def packed_manifest(
    listing: Listing, sizes: dict[str, dict[str, int]], sums: dict[str, str]
) -> dict[str, Any]:
    """Return the manifest."""
    return {
        "schema": SCHEMA,
        "images": {"train": len(listing.train), "test": len(listing.test)},
        "classes": list(listing.classes),
        "columns": list(INDEX_COLUMNS),
        "examined by": decoder_version(),
        "source": {"folder": str(listing.folder.resolve()), "listing": json_sha256(listing[1:4])},
        "shards": sizes,
        "sha256": sums,
    }
