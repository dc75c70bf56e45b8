"""Millions of image files, packed unchanged into a few big files for random access.

A packed set is a folder under the data root, .prepared/<name>-<version>. For each part it holds
.bin files of about a gigabyte with the images' bytes, one after the other, and an index (.npy)
with a row for each image. manifest.json is written last: if it exists, the set is complete.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from benchmark.config.errors import UserError
from benchmark.config.recipe import Decoder
from benchmark.data.files import dali, pillow
from benchmark.data.files.checksums import file_sha256, file_sha256_once
from benchmark.data.files.decode import DECODE_ERRORS

Integers = npt.NDArray[np.int64]
IndexRows = npt.NDArray[np.void]
SCHEMA = 1
INDEX_COLUMNS = ("shard", "offset", "length", "height", "width", "label")
"""A row of the index: which .bin file, where in it, the decoded size, the class."""
INDEX_DTYPE = np.dtype([(name, "<i8") for name in INDEX_COLUMNS])
IMAGE_ERRORS = (*DECODE_ERRORS, Image.DecompressionBombError)


class Packed:
    """Packed images. Selecting some of them copies no file."""

    def __init__(
        self, rows: IndexRows, labels: Tensor, shards: ShardFiles, decoder: Decoder
    ) -> None:
        if decoder == "dali":
            dali.require_dali()
        self.rows, self.labels, self.shards, self.decoder = rows, labels, shards, decoder
        self.heights: Integers = np.ascontiguousarray(rows["height"])
        self.widths: Integers = np.ascontiguousarray(rows["width"])

    def first(self, count: int | None) -> Packed:
        """Return the first ``count`` images; all of them for None."""
        return Packed(self.rows[:count], self.labels[:count], self.shards, self.decoder)

    def pick(self, indices: Integers) -> Packed:
        """Return the images with these indices, in this order."""
        labels = self.labels[torch.from_numpy(indices)]
        return Packed(self.rows[indices], labels, self.shards, self.decoder)

    def of_classes(self, labels: Sequence[int]) -> Packed:
        """Return the images of these classes, which are renumbered 0, 1, ... in this order."""
        renumbered = np.full(max(*labels, int(self.labels.max())) + 1, -1)
        renumbered[list(labels)] = np.arange(len(labels))
        found = renumbered[self.labels.numpy()]
        kept = np.flatnonzero(found >= 0)
        return Packed(self.rows[kept], torch.from_numpy(found[kept]), self.shards, self.decoder)

    def decoded_by(self, decoder: Decoder) -> Packed:
        """Choose the decoder. Raises ``UserError`` if it is not installed."""
        return Packed(self.rows, self.labels, self.shards, decoder)

    def crops(self, batches: Iterable[tuple[Integers, Integers]], size: int) -> Iterator[Tensor]:
        """Yield (B, 3, size, size) uint8, channels last, of (indices (B,), boxes (B, 4)).

        A box is top, left, height, width. It is cropped and resized, bilinear with antialiasing.
        With Pillow, pixels are bit-equal to torchvision's resized_crop. Batches are prepared ahead;
        closing the iterator stops that. Raises ``UserError`` if an image cannot be decoded.
        """
        if self.decoder == "dali":
            return dali.crops(self.read, batches, size)
        return pillow.crops(self.image, batches, size)

    def centres(self, batches: Iterable[Integers], size: int) -> Iterator[Tensor]:
        """Yield test images likewise: torchvision's Resize(size * 256 / 224) and CenterCrop."""
        if self.decoder == "dali":
            return dali.centres(self.read, (self.heights, self.widths), batches, size)
        return pillow.centres(self.image, batches, size)

    def read(self, index: int) -> bytes:
        """Return the bytes of an image's file."""
        shard, offset, length, *_ = self.rows[index].item()
        return self.shards.read(shard, offset, length)

    def image(self, index: int) -> Image.Image:
        """Decode one whole image with Pillow."""
        try:
            return pillow.decode_rgb(self.read(index))
        except IMAGE_ERRORS as error:
            shard, offset, *_ = self.rows[index].item()
            path = self.shards.paths[shard]
            raise damaged_packed_error(
                path.parent, f"in {path.name}, the image at byte {offset:,} {decode_problem(error)}"
            ) from error


class ShardFiles:
    """The open big files of a part."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.files: list[int] = []
        weakref.finalize(self, close_files, self.files)
        for path in paths:
            self.files.append(os.open(path, os.O_RDONLY))

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """Read some bytes. A memory map would stop all threads while it waits for the disk."""
        return os.pread(self.files[shard], length, offset)


def close_files(files: Iterable[int]) -> None:
    """Close open files."""
    for file in files:
        os.close(file)


def decode_problem(error: Exception) -> str:
    """Return one line about what is wrong with an image."""
    if isinstance(error, UnidentifiedImageError):  # its own message contains an address in memory
        return "is no image that can be read"
    return f"cannot be decoded ({error})"


# ---------------------------------------------------------------- opening


def is_packed(folder: Path) -> bool:
    """Whether a folder holds a packed set."""
    return packed_manifest_path(folder).is_file()


def packed_manifest_path(folder: Path) -> Path:
    """Return the path of the manifest: what was packed, from what, with which checksums."""
    return folder / "manifest.json"


def read_packed_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest."""
    try:
        manifest = json.loads(packed_manifest_path(folder).read_bytes())
    except ValueError as error:
        raise damaged_packed_error(folder, f"its manifest cannot be read ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise damaged_packed_error(folder, "its manifest is not what this version writes")
    return manifest


def open_packed(folder: Path, part: str, decoder: Decoder = "pillow") -> Packed:
    """Open the train or test part. Raises ``UserError`` if files are missing or of another size."""
    manifest = read_packed_manifest(folder)
    sizes: dict[str, int] = manifest["shards"][part]
    try:
        rows = np.load(folder / f"{part}.npy", mmap_mode="r")
        shards = ShardFiles([folder / name for name in sizes])
    except (OSError, ValueError) as error:
        raise damaged_packed_error(folder, f"{part} cannot be read ({error})") from error
    if rows.dtype != INDEX_DTYPE or rows.shape != (manifest["images"][part],):
        raise damaged_packed_error(folder, f"{part}.npy is not of the shape that its manifest says")
    for name, size, file in zip(sizes, sizes.values(), shards.files, strict=True):
        if os.fstat(file).st_size != size:
            raise damaged_packed_error(
                folder, f"{name} has {os.fstat(file).st_size:,} bytes, not {size:,}"
            )
    check_index(folder, part, manifest["sha256"][f"{part}.npy"])
    return Packed(rows, torch.from_numpy(np.array(rows["label"])), shards, decoder)


def check_index(folder: Path, part: str, written: str) -> None:
    """Raise ``UserError`` if the index, which holds the labels, is not as it was written."""
    actual = file_sha256_once(folder / f"{part}.npy")
    if actual != written:
        raise damaged_packed_error(
            folder, f"{part}.npy's sha256 is {actual}, {written} was written"
        )


def verify_packed(folder: Path) -> None:
    """Compare every file with the checksum from when it was written."""
    sums: dict[str, str] = read_packed_manifest(folder)["sha256"]
    summed = pillow.map_groups(partial(packed_sha256, folder), ([name] for name in sums))
    with closing(summed), count_progress("files", len(sums)) as advance:
        for (name,), (found,) in summed:
            if found != sums[name]:
                raise damaged_packed_error(
                    folder, f"{name}'s sha256 is {found}, {sums[name]} was written"
                )
            advance(1)


def packed_sha256(folder: Path, name: str) -> str:
    """Return the sha256 of a file of a packed set."""
    try:
        return file_sha256(folder / name)
    except FileNotFoundError as error:
        raise damaged_packed_error(folder, f"{name} is missing") from error


def damaged_packed_error(folder: Path, why: str) -> UserError:
    """Return the error for damaged packed files, which says how to remove them."""
    return UserError(f"{folder} is damaged: {why}. Delete it, and it is packed anew.")


@contextmanager
def count_progress(noun: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a progress bar; yield a function to call with the number of newly finished items."""
    columns = (TextColumn(noun), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, completed=done)
        yield lambda more: progress.advance(task, more)
