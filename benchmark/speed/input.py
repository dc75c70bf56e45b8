"""The images' way to the network: how fast it is, and whether the pixels are the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch

from benchmark.data.stream import Stream
from benchmark.speed.ratios import Figure, Round, middle, ratio
from benchmark.speed.reference import Pictures
from benchmark.training.meters import Clock

COMPARED = 512
PIL_BATCHES = 15


class Input(NamedTuple):
    """Images a second and core, and how many times as fast."""

    usual: float
    suite: float
    figure: Figure
    compared: int
    """So many images were compared in every pixel."""
    equal: bool
    batch_seconds: float
    """What the suite takes for a batch."""


def measure(stream: Stream, pictures: Pictures, rounds: int) -> Input:
    """Time a whole epoch of the suite's against a part of one of the usual, in turns."""
    usual = pictures.batches(stream.batch_size, stream.device)
    next(usual)
    found = [one_round(stream, usual, number) for number in range(rounds)]
    count = min(COMPARED, stream.count)
    suite = middle(found, lambda one: one.suite["input"])
    return Input(
        1 / middle(found, lambda one: one.usual["input"]),
        1 / suite,
        ratio(found, lambda one: one.usual["input"] / one.suite["input"]),
        count,
        differing(stream, pictures, count) == 0,
        suite * stream.batch_size,
    )


def one_round(stream: Stream, usual: Iterator[object], number: int) -> Round:
    """Time both sides, by turns the one or the other first; return seconds an image."""
    batches: dict[str, Iterator[object]] = {
        "usual": islice(usual, PIL_BATCHES),
        "suite": stream.epoch(number),
    }
    counts = {"usual": PIL_BATCHES * stream.batch_size, "suite": stream.count}
    clock, found = Clock(stream.device), {}
    for name in sorted(batches, reverse=number % 2 == 0):
        start = clock.now()
        for _ in batches[name]:
            pass
        found[name] = {"input": clock.between(start, clock.now()) / counts[name]}
    return Round(**found)


def differing(stream: Stream, pictures: Pictures, count: int, epoch: int = 0) -> int:
    """Count the images, of an epoch's first so many, that are not the usual ones bit for bit."""
    order, down, right, mirrored = stream.table(epoch)
    shown = (image for images, _, _ in stream.epoch(epoch) for image in images)
    draws = zip(order, down, right, mirrored, strict=True)
    wrong = 0
    for image, (index, *draw) in islice(zip(shown, draws, strict=False), count):
        usual = pictures.drawn(int(index), int(draw[0]), int(draw[1]), bool(draw[2]))
        wrong += not torch.equal(image.cpu(), usual)
    return wrong
