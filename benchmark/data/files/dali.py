"""Decode with NVIDIA DALI, an optional extra: on the GPU if there is one, else on the CPU.

The caller passes the crop boxes, so all decoders crop alike. On the CPU, pixels equal Pillow's up
to rounding, except at the border of a crop: DALI repeats the last pixel there, Pillow uses none.
On a GPU, nvJPEG decodes, and its pixels differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from benchmark.config.errors import UserError
from benchmark.data.files.pillow import PREFETCH, centre_crop, map_groups

Integers = npt.NDArray[np.int64]
Boxes = npt.NDArray[np.float32]
"""(..., 4): top, left, height, width."""


def require_dali() -> None:
    """Raise ``UserError`` if DALI is not installed."""
    if find_spec("nvidia") is None or find_spec("nvidia.dali") is None:
        raise UserError("the decoder dali is not installed: pip install -e '.[dali]'")


def crops(
    read: Callable[[int], bytes], batches: Iterable[tuple[Integers, Integers]], size: int
) -> Iterator[Tensor]:
    """Yield what ``pillow.crops`` yields, on the device; ``read`` returns a file's bytes.

    No batch may be larger than the first.
    """
    whole = ((indices, boxes.astype(np.float32)) for indices, boxes in batches)
    return decode_batches(read, whole, size, cut=True)


def centres(
    read: Callable[[int], bytes],
    sizes: tuple[Integers, Integers],
    batches: Iterable[Integers],
    size: int,
) -> Iterator[Tensor]:
    """Yield what ``pillow.centres`` yields, on the device; ``sizes``: image heights and widths."""

    def box(height: int, width: int) -> tuple[float, ...]:
        crop = centre_crop(height, width, size)
        down, right = height / crop.height, width / crop.width
        return crop.top * down, crop.left * right, size * down, size * right

    def boxes(indices: Integers) -> Boxes:
        pairs = zip(*(lengths[indices].tolist() for lengths in sizes), strict=True)
        return np.array([box(*pair) for pair in pairs], np.float32)

    return decode_batches(read, ((indices, boxes(indices)) for indices in batches), size, cut=False)


# ---------------------------------------------------------------- the pipeline


def decode_batches(
    read: Callable[[int], bytes],
    batches: Iterable[tuple[Integers, Boxes]],
    size: int,
    *,
    cut: bool,
) -> Iterator[Tensor]:
    """Yield the batches. ``cut``: pixels outside a box do not influence its border."""
    items = (list(zip(i.tolist(), boxes, strict=True)) for i, boxes in batches)
    first = next(items, None)
    if first is None:
        return
    work = partial(read_item, read)
    with closing(map_groups(work, chain([first], items))) as loaded:
        line = build_pipeline(map(pipeline_inputs, loaded), len(first), size, cut)
        while True:
            try:
                (images,) = line.run()
            except StopIteration:
                return
            except RuntimeError as error:
                raise UserError(
                    f"DALI cannot decode an image; the decoder pillow would name it. {error}"
                ) from error
            # Copy, because DALI reuses its memory.
            yield from_dlpack(images.as_tensor()).clone().permute(0, 3, 1, 2)


Item = tuple[int, Boxes]
Bytes = npt.NDArray[np.uint8]


def read_item(read: Callable[[int], bytes], item: Item) -> Bytes:
    """Read a file's bytes."""
    return np.frombuffer(read(item[0]), np.uint8)


def pipeline_inputs(loaded: tuple[Sequence[Item], list[Bytes]]) -> tuple[list[Bytes], Boxes, Boxes]:
    """Return a batch as the pipeline expects it: files, upper left corners, heights and widths."""
    items, files = loaded
    starts, extents = (np.stack([box[half] for _, box in items]) for half in (np.s_[:2], np.s_[2:]))
    return files, starts, extents


def build_pipeline(feeds: Iterator[object], batch: int, size: int, cut: bool) -> Any:  # noqa: ANN401
    """Build the pipeline from feeds to (B, size, size, 3) uint8; ``PREFETCH`` batches ahead."""
    from nvidia.dali import Pipeline, fn, types

    cuda = torch.cuda.is_available()
    line = Pipeline(
        batch_size=batch,
        num_threads=len(os.sched_getaffinity(0)),
        device_id=torch.cuda.current_device() if cuda else None,
        prefetch_queue_depth=PREFETCH,
        exec_dynamic=True,
    )
    with line:
        kinds = [types.UINT8, types.FLOAT, types.FLOAT]
        files, start, extent = fn.external_source(feeds, num_outputs=3, dtype=kinds)
        how = {
            "device": "mixed" if cuda else "cpu",
            "output_type": types.RGB,
            "adjust_orientation": False,  # as the other decoders
            "use_fast_idct": False,
            "jpeg_fancy_upsampling": True,  # as libjpeg does
        }
        to = {"size": [size, size], "interp_type": types.INTERP_LINEAR, "antialias": True}
        if cut:
            region = {"axes": [0, 1], "normalized_anchor": False, "normalized_shape": False}
            images = fn.decoders.image_slice(files, start, extent, **region, **how)
            line.set_outputs(fn.resize(images, **to))
        else:
            images = fn.decoders.image(files, **how)
            line.set_outputs(fn.resize(images, roi_start=start, roi_end=start + extent, **to))
    return line
