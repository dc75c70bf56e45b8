"""Decode image files into arrays, shard by shard, in processes if there are many."""

from __future__ import annotations

import io
import os
import signal
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError, features
from PIL import __version__ as pillow

from benchmark.config.errors import UserError
from benchmark.data.files.colour_modes import describe, to_rgb
from benchmark.store.atomic import write_atomic

Pixels = npt.NDArray[np.uint8]
FEWEST_FOR_PROCESSES = 500
"""Images from which starting processes, which takes seconds, is worth it."""
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises for a damaged file, except for decompression bombs."""


class DecodeTask(NamedTuple):
    """Some images of a data set, to be decoded into one file."""

    folder: Path
    files: tuple[str, ...]
    """Paths relative to the folder."""
    size: int
    """Height and width of the result."""
    fit: bool
    """Scale the shorter side to ``size`` and crop the centre; else another size is an error."""
    target: Path
    """The .npy file: (N, 3, size, size) uint8."""


def decoder_version() -> str:
    """Return the name and version of the decoder: JPEG decoders differ in the last bit."""
    return f"Pillow {pillow}, libjpeg-turbo {features.version('libjpeg_turbo')}"


class DecodeResult(NamedTuple):
    """What became of a shard."""

    problems: list[str]
    """A line for each image that cannot be used."""
    notes: Counter[str]
    """Numbers of images; see ``colour_modes.describe``."""


def decode_to_file(shard: DecodeTask) -> DecodeResult:
    """Decode a shard and write its file, unless an image cannot be used."""
    pixels = np.empty((len(shard.files), 3, shard.size, shard.size), np.uint8)
    problems: list[str] = []
    notes: Counter[str] = Counter()
    for i, name in enumerate(shard.files):
        try:
            pixels[i] = decode_image(shard.folder / name, shard.size, shard.fit, notes)
        except UnidentifiedImageError:
            problems.append(f"{name}: is no image that can be read")
        except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
            problems.append(f"{name}: cannot be decoded ({error})")
    if not problems:
        buffer = io.BytesIO()
        np.save(buffer, pixels)
        write_atomic(shard.target, buffer.getbuffer())
    return DecodeResult(problems, notes)


def decode_image(path: Path, size: int, fit: bool, notes: Counter[str] | None = None) -> Pixels:
    """Decode one image to (3, size, size) RGB, and count it in the notes."""
    with Image.open(path) as opened:
        kinds = [] if notes is None else [*describe(opened)]
        image = to_rgb(opened)
    if notes is not None:
        notes.update(kinds)
    if fit:
        image = fit_square(image, size)
    if image.size != (size, size):
        raise ValueError(f"it is {image.width}x{image.height}, not {size}x{size}")
    return np.asarray(image).transpose(2, 0, 1)


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to ``size`` and crop the centre."""
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def decode_in_parallel(shards: Sequence[DecodeTask]) -> Iterator[tuple[DecodeTask, DecodeResult]]:
    """Decode shards on all cores; yield each one when it is done."""
    workers = min(len(os.sched_getaffinity(0)), len(shards))
    if workers < 2 or sum(len(shard.files) for shard in shards) < FEWEST_FOR_PROCESSES:
        for shard in shards:
            yield shard, decode_to_file(shard)
        return
    # Do not fork: the parent may have threads.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=exit_with_parent) as pool:
        tasks = {pool.submit(decode_to_file, shard): shard for shard in shards}
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that decoded images was killed, perhaps for want of memory. Run the "
                "same command again: it goes on from where it was."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def exit_with_parent() -> None:
    """Prepare a worker: it ends with its parent, and ignores Ctrl-C, which the parent handles."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
