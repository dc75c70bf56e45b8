"""A stream over random images."""

import torch

from benchmark.config.recipe import Crop, DatasetConfig
from benchmark.data.sets.cifar import CIFAR100
from benchmark.data.source import Images
from benchmark.data.stream import Stream

CPU = torch.device("cpu")


def images(count: int = 100) -> Images:
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=torch.manual_seed(0))
    return Images(pixels.to(torch.uint8), torch.arange(count) % 7)


def stream(
    seed: int = 3,
    batch_size: int = 32,
    padding: int = 4,
    flip: bool = True,
    crop: Crop = "padded",
) -> Stream:
    config = DatasetConfig(
        name="cifar100", version=1, limit=None, padding=padding, flip=flip, crop=crop
    )
    return Stream(images(), CIFAR100, config, seed=seed, batch_size=batch_size, device=CPU)
