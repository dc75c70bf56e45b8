"""Seeds follow from names alone."""

import itertools

from benchmark.config.seeds import derive


def test_a_seed_never_changes() -> None:
    # printf '["student", "resnet8", 0]' | sha256sum: the first 8 bytes, halved
    assert derive("student", "resnet8", 0) == 3022260159787297849


def test_no_two_names_share_a_seed() -> None:
    words: list[str | int] = ["a", "b", "ab", "a,b", 'a", "b', "", 1, 11, -1, "1", "é", "\\u00e9"]
    names = [name for n in range(1, 4) for name in itertools.product(words, repeat=n)]
    assert len({derive(*name) for name in names}) == len(names)


def test_a_seed_is_63_bits_wide_and_no_narrower() -> None:
    seeds = [derive("stream", seed) for seed in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    for bit in range(63):
        assert 400 < sum(seed >> bit & 1 for seed in seeds) < 600
