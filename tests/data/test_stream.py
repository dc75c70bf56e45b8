"""Batches are a pure function of (seed, epoch, index), and the pixels are torchvision's."""

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as transforms

from benchmark.data.draws import below, random_words
from benchmark.data.sets.cifar import CIFAR100
from benchmark.data.stream import Stream
from tests.data.streams import images, stream


def by_index(made: Stream, epoch: int) -> dict[int, torch.Tensor]:
    return {
        int(index): image
        for batch, _, indices in made.epoch(epoch)
        for index, image in zip(indices, batch, strict=True)
    }


def test_pixels_are_bit_equal_to_torchvision_for_the_same_draw():
    made, raw = stream(), images()
    shown = by_index(made, epoch=5)
    for index, down, right, flipped in zip(*made.table(5), strict=True):
        picture = Image.fromarray(raw.pixels[index].permute(1, 2, 0).numpy())
        picture = transforms.crop(transforms.pad(picture, 4), int(down), int(right), 32, 32)
        picture = transforms.hflip(picture) if flipped else picture
        tensor = transforms.to_tensor(picture)
        assert torch.equal(
            shown[int(index)], transforms.normalize(tensor, CIFAR100.mean, CIFAR100.std)
        )


def test_an_image_is_augmented_alike_in_whatever_batch_it_turns_up():
    small, large = by_index(stream(batch_size=7), 2), by_index(stream(batch_size=64), 2)
    assert all(torch.equal(small[i], large[i]) for i in range(100))


def test_an_epoch_shows_every_image_once_and_keeps_the_short_last_batch():
    batches = list(stream().epoch(0))
    assert [len(labels) for _, labels, _ in batches] == [32, 32, 32, 4]
    assert stream().steps == 4
    indices = torch.cat([indices for _, _, indices in batches])
    assert sorted(indices.tolist()) == list(range(100))
    assert torch.equal(torch.cat([labels for _, labels, _ in batches]), indices % 7)


def test_epochs_and_seeds_differ_in_order_and_in_augmentation():
    tables = [stream(seed).table(epoch) for seed, epoch in ((3, 0), (3, 1), (4, 0))]
    for column in range(4):
        columns = [table[column] for table in tables]
        assert not any(np.array_equal(columns[i], columns[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_without_padding_and_flip_an_image_is_only_normalised():
    plain = by_index(stream(padding=0, flip=False), 0)
    expected = transforms.normalize(images().pixels[9] / 255, CIFAR100.mean, CIFAR100.std)
    assert torch.equal(plain[9], expected)


def test_draws_are_even_and_independent_of_each_other():
    draws = {p: random_words(1, 2, p, 90_000) for p in ("order", "down", "right", "flip")}
    counts = np.bincount(below(draws["down"], 9))
    assert len(counts) == 9
    assert abs(counts - 10_000).max() < 400  # four standard deviations
    pairs = np.bincount(below(draws["down"], 9) * 9 + below(draws["right"], 9))
    assert len(pairs) == 81
    assert abs(pairs - 90_000 / 81).max() < 150  # four and a half


def test_draws_never_change():
    # Every run's identity rests on these numbers: a change of them needs a new PROTOCOL.
    assert random_words(7, 3, "order", 3).tolist() == GOLDEN_ORDER
    assert below(random_words(7, 3, "down", 12), 9).tolist() == GOLDEN_DOWN


GOLDEN_ORDER = [10999940545209549075, 11211875717189573400, 2580621091307578397]
GOLDEN_DOWN = [7, 5, 3, 0, 0, 1, 2, 2, 3, 6, 7, 2]
