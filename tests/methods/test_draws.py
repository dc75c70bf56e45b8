"""Draws are SplitMix64's, even, and go on where a checkpoint left them."""

import pytest
import torch

from methods.blocks.draws import Draws


def made(seed: int = 0) -> Draws:
    torch.manual_seed(seed)
    return Draws()


def split_mix(key: int, place: int) -> int:
    """31 bits of the published generator, in whole numbers of any length."""
    word = (key + 0x9E3779B97F4A7C15 * (place + 1)) % 2**64
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return (word ^ (word >> 31)) >> 33


def test_words_are_the_published_generators():
    draws = made()
    expected = [split_mix(int(draws.key), place) for place in range(50)]
    assert draws.integers((50,), 2**31).tolist() == expected


def test_numbers_are_even_within_their_bounds():
    draws = made()
    counts = draws.integers((7000, 10), 7).flatten().bincount()
    assert len(counts) == 7
    assert counts.double() == pytest.approx(10_000, rel=0.05)
    uniform = draws.uniform((100_000,))
    assert 0 <= uniform.min() < uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.std().item() == pytest.approx(12**-0.5, abs=0.01)


def test_no_draw_comes_twice_and_another_key_draws_otherwise():
    draws = made()
    first, second = draws.integers((20,), 2**31), draws.integers((20,), 2**31)
    assert not set(first.tolist()) & set(second.tolist())
    assert not torch.equal(made(1).integers((20,), 2**31), first)


def test_a_checkpoint_goes_on_with_the_next_draw():
    draws, resumed = made(), made(1)
    draws.integers((13,), 5)
    resumed.load_state_dict(draws.state_dict())
    assert torch.equal(draws.uniform((2, 3)), resumed.uniform((2, 3)))


def test_the_global_generator_is_left_alone():
    draws, before = made(), torch.get_rng_state()
    draws.uniform((10,))
    assert torch.equal(torch.get_rng_state(), before)
