"""Image files decoded once into memory-mapped arrays, which open in no time.

A prepared set is the folder .prepared/<name>-<version> under the data root, or one in a cache; see
`prepared_path.py`. It has the pixels and
labels of each part as .npy files, and manifest.json, which is written last: if it exists, the set
is complete. The original images are not needed any more.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmark.config.errors import UserError
from benchmark.data.files.checksums import file_sha256, file_sha256_once, json_sha256
from benchmark.data.files.class_folders import (
    ImageFile,
    Listing,
    note_lines,
    print_lines,
    problems_error,
)
from benchmark.data.files.contents import stamp_files
from benchmark.data.files.decode import DecodeTask, decode_in_parallel, decoder_version
from benchmark.data.source import Images, Split
from benchmark.store.atomic import encode_json, write_atomic
from benchmark.store.claim import claim_run, read_claim

SCHEMA = 1
IMAGES_PER_DECODE_TASK = 1000
"""Images decoded at a time: the most that an interruption costs each process."""
PARTS = ("train", "test")


class Prepared(NamedTuple):
    """The folder of one prepared data set, whether it exists yet or not."""

    folder: Path
    size: int
    """Height and width in pixels."""
    fit: bool = False
    """Scale and crop images to that size; if false, another size is an error."""

    @property
    def manifest(self) -> Path:
        """The path of the manifest: what was prepared, from what, by what, with which checksums."""
        return self.folder / "manifest.json"

    @property
    def shards(self) -> Path:
        """The folder from which an interrupted preparation continues."""
        return self.folder / "shards"

    def exists(self) -> bool:
        """Whether the set is complete."""
        return self.manifest.is_file()

    def load(self, find: Callable[[], Listing]) -> Split[Images]:
        """Open the set; if it is not prepared, ``find`` the images and prepare it first."""
        if not self.exists():
            listing = find()
            with exclusive_access(self.folder):
                if not self.exists():  # another process may have finished it
                    decode_data_set(self, listing)
        split = Split(*(open_part(self, part) for part in PARTS))
        self.compare_checksums(file_sha256_once)
        return split

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest."""
        try:
            manifest = json.loads(self.manifest.read_bytes())
        except ValueError as error:
            raise damaged_prepared_error(self, f"its manifest cannot be read ({error})") from error
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise damaged_prepared_error(self, "its manifest is not what this version writes")
        return manifest

    def verify(self) -> None:
        """Compare every file with its checksum, also if this process has done so before."""
        self.compare_checksums(file_sha256)

    def compare_checksums(self, sha256_of: Callable[[Path], str]) -> None:
        """Raise ``UserError`` if a file is not as it was written."""
        for name, written in self.read_manifest()["sha256"].items():
            try:
                actual = sha256_of(self.folder / name)
            except OSError as error:
                raise damaged_prepared_error(self, f"{name} cannot be read ({error})") from error
            if actual != written:
                raise damaged_prepared_error(
                    self, f"{name}'s sha256 is {actual}, {written} was written"
                )


def damaged_prepared_error(prepared: Prepared, why: str) -> UserError:
    """Return the error for damaged prepared files, which says how to remove them."""
    return UserError(f"{prepared.folder} is damaged: {why}. Delete it, and it is prepared anew.")


# ---------------------------------------------------------------- opening


def open_part(prepared: Prepared, part: str) -> Images:
    """Map a part's pixels into memory. Writes to them stay in this process."""
    count, size = prepared.read_manifest()["images"][part], prepared.size
    try:
        # Copy on write, because torch has no read-only tensors.
        pixels = np.load(prepared.folder / f"{part}.npy", mmap_mode="c")
        labels = np.load(prepared.folder / f"{part}-labels.npy")
    except (OSError, ValueError) as error:
        raise damaged_prepared_error(prepared, f"{part} cannot be read ({error})") from error
    if pixels.shape != (count, 3, size, size) or labels.shape != (count,):
        raise damaged_prepared_error(prepared, f"{part} is not of the shape that its manifest says")
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


# ---------------------------------------------------------------- preparing


@contextmanager
def exclusive_access(folder: Path) -> Iterator[None]:
    """Lock the folder; wait while another process holds it."""
    is_announced = False
    while (mine := claim_run(folder)) is None:
        if not is_announced and (holder := read_claim(folder)):
            print(f"waiting: {holder.host}, process {holder.pid}, prepares {folder}", flush=True)
            is_announced = True
        time.sleep(0.5)
    try:
        with mine.keep_alive():
            yield
    finally:
        mine.release()


def decode_data_set(prepared: Prepared, listing: Listing) -> None:
    """Decode all images, then rename the complete set into place. Continue after an interruption.

    Raises ``UserError`` with all problems of the images.
    """
    print_lines(listing.ignored)
    prepared.shards.mkdir(exist_ok=True)
    for torn in [*prepared.folder.rglob(".*.npy.*.tmp")]:
        torn.unlink()
    shards = {part: list(plan_decoding(prepared, listing, part)) for part in PARTS}
    problems = [*listing.problems, *decode_missing(prepared, [*shards["train"], *shards["test"]])]
    if problems:
        raise problems_error(listing.folder, problems)
    sums: dict[str, str] = {}
    for part, members in zip(PARTS, (listing.train, listing.test), strict=True):
        labels = np.array([member.label for member in members], np.int64)
        sums |= write_npy(prepared.folder / f"{part}-labels.npy", npy_header(labels), [labels])
        pixels = [np.load(shard.target, mmap_mode="r") for shard in shards[part]]
        sums |= write_npy(prepared.folder / f"{part}.npy", npy_header(*pixels), pixels)
    write_atomic(prepared.manifest, encode_json(prepared_manifest(prepared, listing, sums)))
    shutil.rmtree(prepared.shards)


def plan_decoding(prepared: Prepared, listing: Listing, part: str) -> Iterator[DecodeTask]:
    """Split a part into shards. A shard's name identifies everything that its pixels depend on."""
    members: tuple[ImageFile, ...] = getattr(listing, part)
    for start in range(0, len(members), IMAGES_PER_DECODE_TASK):
        piece = members[start : start + IMAGES_PER_DECODE_TASK]
        stamp = stamp_files(listing.folder, piece)
        key = json_sha256([prepared.size, prepared.fit, decoder_version(), piece, stamp])[:12]
        files = tuple(member.file for member in piece)
        target = prepared.shards / f"{part}-{start:07d}-{key}.npy"
        yield DecodeTask(listing.folder, files, prepared.size, prepared.fit, target)


def decode_missing(prepared: Prepared, shards: Sequence[DecodeTask]) -> list[str]:
    """Decode the missing shards and show progress; return the problems."""
    missing = [shard for shard in shards if not shard.target.is_file()]
    total = sum(len(shard.files) for shard in shards)
    done = total - sum(len(shard.files) for shard in missing)
    print(f"decoding {total - done:,} images once, to {prepared.folder}", flush=True)
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    problems: list[str] = []
    notes: Counter[str] = Counter()
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, completed=done)
        for shard, result in decode_in_parallel(missing):
            problems += result.problems
            notes += result.notes
            progress.advance(task, len(shard.files))
    print_lines(note_lines(notes))
    return sorted(problems)


def npy_header(*arrays: npt.NDArray[Any]) -> bytes:
    """Return the header of the .npy file that holds these arrays, one after the other."""
    buffer = io.BytesIO()
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    about = {"descr": arrays[0].dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def write_npy(path: Path, head: bytes, arrays: Sequence[npt.NDArray[Any]]) -> dict[str, str]:
    """Write a .npy file atomically; return its sha256 by its name."""
    parts = [memoryview(head), *(array.data.cast("B") for array in arrays)]
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part)
    write_atomic(path, *parts)
    return {path.name: sha256.hexdigest()}


def prepared_manifest(prepared: Prepared, listing: Listing, sums: dict[str, str]) -> dict[str, Any]:
    """Return the manifest."""
    return {
        "schema": SCHEMA,
        "images": {"train": len(listing.train), "test": len(listing.test)},
        "size": prepared.size,
        "fit": prepared.fit,
        "classes": list(listing.classes),
        "decoder": decoder_version(),
        "source": {"folder": str(listing.folder.resolve()), "listing": json_sha256(listing[1:4])},
        "ignored": list(listing.ignored),
        "sha256": sums,
    }
