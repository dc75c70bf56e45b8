"""Many image files, decoded once into memory-mapped arrays that open at once ever after.

A prepared set is a folder under the data root, .prepared/<name>-<version>: pixels and labels of
each part as .npy files, and manifest.json, which is written last: it exists = prepared. The images
that it was made from are not needed any more.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmark.config.errors import UserError
from benchmark.data.files.class_folders import Listing, Member, refuse
from benchmark.data.files.decode import Shard, decoder, in_parallel
from benchmark.data.source import Images, Split
from benchmark.store.atomic import as_json, write_atomic
from benchmark.store.claim import claim, read_claim

SCHEMA = 1
SHARD = 1000
"""Images that are decoded at a time: what an interruption costs at most, for each process."""
PARTS = ("train", "test")


class Prepared(NamedTuple):
    """A place for one data set, prepared or to be."""

    folder: Path
    size: int
    """Height and width in pixels."""
    fit: bool = False
    """Scale and crop images to that size; else one of another size is a mistake."""

    @property
    def manifest(self) -> Path:
        """What was prepared, from what, by what, with which checksums."""
        return self.folder / "manifest.json"

    @property
    def shards(self) -> Path:
        """What a preparation goes on from after an interruption."""
        return self.folder / "shards"

    def done(self) -> bool:
        """Whether it can be opened."""
        return self.manifest.is_file()

    def load(self, find: Callable[[], Listing]) -> Split[Images]:
        """Open it; where it is not prepared, ``find`` the images and prepare it first."""
        if not self.done():
            listing = find()
            with alone(self.folder):
                if not self.done():  # somebody else may have been faster
                    prepare(self, listing)
        return Split(*(open_part(self, part) for part in PARTS))

    def read_manifest(self) -> dict[str, Any]:
        """Read what was prepared."""
        try:
            manifest = json.loads(self.manifest.read_bytes())
        except ValueError as error:
            raise damaged(self, f"its manifest cannot be read ({error})") from error
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise damaged(self, "its manifest is not what this version writes")
        return manifest

    def verify(self) -> None:
        """Compare every file with the checksum that was taken when it was written."""
        for name, sha256 in self.read_manifest()["sha256"].items():
            path = self.folder / name
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise damaged(self, f"{name}'s sha256 is {found}, {sha256} was written")


def place(root: Path, name: str, version: int | str) -> Path:
    """Return where a data set's prepared files lie."""
    return root / ".prepared" / f"{name}-{version}"


def damaged(prepared: Prepared, why: str) -> UserError:
    """Say how to get rid of prepared files that cannot be trusted."""
    return UserError(f"{prepared.folder} is damaged: {why}. Delete it, and it is prepared anew.")


# ---------------------------------------------------------------- opening


def open_part(prepared: Prepared, part: str) -> Images:
    """Map a part's pixels into memory; what is written to them stays with this process."""
    count, size = prepared.read_manifest()["images"][part], prepared.size
    try:
        # Copy on write: torch has no read-only tensors.
        pixels = np.load(prepared.folder / f"{part}.npy", mmap_mode="c")
        labels = np.load(prepared.folder / f"{part}-labels.npy")
    except (OSError, ValueError) as error:
        raise damaged(prepared, f"{part} cannot be read ({error})") from error
    if pixels.shape != (count, 3, size, size) or labels.shape != (count,):
        raise damaged(prepared, f"{part} is not of the shape that its manifest says")
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


# ---------------------------------------------------------------- preparing


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else is at this folder, then hold it."""
    said = False
    while (mine := claim(folder)) is None:
        if not said and (holder := read_claim(folder)):
            print(f"waiting: {holder.host}, process {holder.pid}, prepares {folder}", flush=True)
            said = True
        time.sleep(0.5)
    try:
        with mine.keep_alive():
            yield
    finally:
        mine.release()


def prepare(prepared: Prepared, listing: Listing) -> None:
    """Decode all images, then put the whole in place. What is decoded already is not done again.

    Raises ``UserError`` with all that is wrong with the images, if anything is.
    """
    prepared.shards.mkdir(exist_ok=True)
    for torn in [*prepared.folder.rglob(".*.npy.*.tmp")]:
        torn.unlink()
    shards = {part: list(make_shards(prepared, listing, part)) for part in PARTS}
    problems = [*listing.problems, *decode_missing(prepared, [*shards["train"], *shards["test"]])]
    if problems:
        raise refuse(listing.folder, problems)
    sums: dict[str, str] = {}
    for part, members in zip(PARTS, (listing.train, listing.test), strict=True):
        labels = np.array([member.label for member in members], np.int64)
        sums |= write(prepared.folder / f"{part}-labels.npy", header(labels), [labels])
        pixels = [np.load(shard.target, mmap_mode="r") for shard in shards[part]]
        sums |= write(prepared.folder / f"{part}.npy", header(*pixels), pixels)
    write_atomic(prepared.manifest, as_json(describe(prepared, listing, sums)))
    shutil.rmtree(prepared.shards)


def make_shards(prepared: Prepared, listing: Listing, part: str) -> Iterator[Shard]:
    """Cut a part into shards, each named for all that its pixels follow from."""
    members: tuple[Member, ...] = getattr(listing, part)
    for start in range(0, len(members), SHARD):
        piece = members[start : start + SHARD]
        key = digest([prepared.size, prepared.fit, decoder(), piece])[:12]
        files = tuple(member.file for member in piece)
        target = prepared.shards / f"{part}-{start:07d}-{key}.npy"
        yield Shard(listing.folder, files, prepared.size, prepared.fit, target)


def decode_missing(prepared: Prepared, shards: Sequence[Shard]) -> list[str]:
    """Decode the shards that are not there, showing how far it has got; return the problems."""
    missing = [shard for shard in shards if not shard.target.is_file()]
    total = sum(len(shard.files) for shard in shards)
    done = total - sum(len(shard.files) for shard in missing)
    print(f"decoding {total - done:,} images once, to {prepared.folder}", flush=True)
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    problems: list[str] = []
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, completed=done)
        for shard, found in in_parallel(missing):
            problems += found
            progress.advance(task, len(shard.files))
    return sorted(problems)


def header(*arrays: npt.NDArray[Any]) -> bytes:
    """Return the head of the .npy file that holds these arrays, one after the other."""
    buffer = io.BytesIO()
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    about = {"descr": arrays[0].dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def write(path: Path, head: bytes, arrays: Sequence[npt.NDArray[Any]]) -> dict[str, str]:
    """Put a .npy file in place; return its sha256 by its name."""
    parts = [memoryview(head), *(array.data.cast("B") for array in arrays)]
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part)
    write_atomic(path, *parts)
    return {path.name: sha256.hexdigest()}


def describe(prepared: Prepared, listing: Listing, sums: dict[str, str]) -> dict[str, Any]:
    """Make the manifest."""
    return {
        "schema": SCHEMA,
        "images": {"train": len(listing.train), "test": len(listing.test)},
        "size": prepared.size,
        "fit": prepared.fit,
        "classes": list(listing.classes),
        "decoder": decoder(),
        "source": {"folder": str(listing.folder.resolve()), "listing": digest(listing[1:4])},
        "sha256": sums,
    }


def digest(value: object) -> str:
    """Return the sha256 of plain values, as names, sizes and labels of files."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
