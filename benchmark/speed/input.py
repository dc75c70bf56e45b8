"""The input pipeline: how fast it is, and whether it yields the same pixels as the usual one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from benchmark.data.stream import Stream
from benchmark.speed.ratios import Ratio, Round, median_seconds, paired_ratio
from benchmark.speed.reference import PilImages
from benchmark.speed.timing import measure_in_turns
from benchmark.training.meters import Times, time_work

COMPARED = 512
PIL_BATCHES = 15


@dataclass(frozen=True)
class InputSpeed:
    """Speed of both pipelines, and a comparison of their pixels."""

    usual: float
    """Images a second on one core."""
    suite: float
    """Images a second on one core."""
    ratio: Ratio
    compared: int
    """How many images were compared."""
    equal: bool
    """Whether all of these are bit-equal."""
    batch_seconds: float
    """The suite's seconds per batch."""


def measure_input(stream: Stream, pictures: PilImages, rounds: int) -> InputSpeed:
    """Time an epoch of the suite's pipeline and some batches of the usual one, in turns."""
    usual = pictures.batches(stream.batch_size, stream.device)
    next(usual)

    def time_usual() -> Times:
        count = PIL_BATCHES * stream.batch_size
        return time_images(stream.device, islice(usual, PIL_BATCHES), count)

    measured = []
    for number in range(rounds):

        def time_suite(epoch: int = number) -> Times:
            return time_images(stream.device, stream.epoch(epoch), stream.count)

        times = measure_in_turns(number, time_usual, time_suite)
        measured.append(Round(*({"input": seconds} for seconds in times)))
    compared = min(COMPARED, stream.count)
    suite_seconds = median_seconds(measured, lambda one: one.suite["input"])
    return InputSpeed(
        usual=1 / median_seconds(measured, lambda one: one.usual["input"]),
        suite=1 / suite_seconds,
        ratio=paired_ratio(measured, lambda one: one.usual["input"] / one.suite["input"]),
        compared=compared,
        equal=count_differing(stream, pictures, compared) == 0,
        batch_seconds=suite_seconds * stream.batch_size,
    )


def time_images(device: torch.device, batches: Iterator[object], count: int) -> Times:
    """Load all batches; return the seconds per image."""

    def load() -> None:
        for _ in batches:
            pass

    seconds: Times = time_work(device, load) / count
    return seconds


def count_differing(stream: Stream, pictures: PilImages, count: int, epoch: int = 0) -> int:
    """Compare an epoch's first ``count`` images with PIL's for the same crops and flips.

    Returns how many of them are not bit-equal.
    """
    order, down, right, mirrored = stream.table(epoch)
    images = (image for batch, _, _ in stream.epoch(epoch) for image in batch)
    draws = zip(order, down, right, mirrored, strict=True)
    differing = 0
    for image, (index, *draw) in islice(zip(images, draws, strict=False), count):
        usual = pictures.augmented(int(index), int(draw[0]), int(draw[1]), bool(draw[2]))
        differing += not torch.equal(image.cpu(), usual)
    return differing
