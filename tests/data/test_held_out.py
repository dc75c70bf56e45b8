"""What is held out of train is fixed, stratified, and lost to nobody."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.config.errors import UserError
from benchmark.data.held_out import proportional_counts
from benchmark.data.held_out import split_held_out as part_of
from benchmark.data.source import Images


def held_out(images: Images, count: int, classes: int) -> tuple[Images, Images]:
    rest, validation = part_of(images, count, classes)
    assert isinstance(rest, Images)
    assert isinstance(validation, Images)
    return rest, validation


def images(sizes: list[int]) -> Images:
    """Every image shows its own number; classes are mixed."""
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.manual_seed(0))]
    return Images(torch.arange(len(labels)), labels)


def test_no_image_is_lost_and_none_is_on_both_sides():
    rest, validation = held_out(images([50, 50, 50]), 30, 3)
    both = sorted(rest.pixels.tolist() + validation.pixels.tolist())
    assert both == list(range(150))


def test_every_image_keeps_its_label_and_its_place_in_the_order():
    whole = images([50, 20])
    for part in held_out(whole, 14, 2):
        assert torch.equal(part.labels, whole.labels[part.pixels])
        assert part.pixels.tolist() == sorted(part.pixels.tolist())


def test_each_class_gives_its_share():
    _, validation = held_out(images([500] * 10), 1000, 10)
    assert validation.labels.bincount().tolist() == [100] * 10
    _, validation = held_out(images([600, 300, 100]), 100, 3)
    assert validation.labels.bincount().tolist() == [60, 30, 10]


def test_exactly_as_many_are_held_out_as_were_asked_for():
    for count in (1, 7, 99, 149):
        rest, validation = held_out(images([97, 2, 51]), count, 3)
        assert (len(rest.labels), len(validation.labels)) == (150 - count, count)


def test_shares_go_by_largest_remainders_the_first_class_first():
    assert proportional_counts(np.array([10, 10, 10]), 4).tolist() == [2, 1, 1]
    assert proportional_counts(np.array([5, 4, 1]), 3).tolist() == [2, 1, 0]
    assert proportional_counts(np.array([3, 0, 3]), 2).tolist() == [1, 0, 1]


def test_what_is_held_out_never_changes():
    # Choices that rest on it are compared over years.
    _, validation = held_out(Images(torch.arange(80), torch.arange(80) % 2), 8, 2)
    assert validation.pixels.tolist() == GOLDEN


GOLDEN = [1, 8, 28, 45, 48, 53, 61, 68]


def test_more_held_out_begins_with_what_less_held_out():
    few, many = (held_out(images([50, 50]), count, 2)[1] for count in (10, 40))
    assert set(few.pixels.tolist()) < set(many.pixels.tolist())


@pytest.mark.parametrize("count", [0, -1, 100, 101])
def test_train_is_neither_left_whole_nor_used_up(count):
    with pytest.raises(UserError, match="of 100 train images cannot be held out"):
        held_out(images([50, 50]), count, 2)
