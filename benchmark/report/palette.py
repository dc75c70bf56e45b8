"""A method looks the same in every picture: its colour and its marker."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

# Seaborn's colour-blind palette, the first six handed out for good; scratch, which is not a
# competitor but the ground the others stand on, is dark grey.
_KNOWN = {
    "scratch": ("#4d4d4d", "o"),
    "kd": ("#0173b2", "s"),
    "fitnets": ("#de8f05", "^"),
    "at": ("#029e73", "D"),
    "fsp": ("#d55e00", "v"),
    "ab": ("#cc78bc", "X"),
}
_FREE = (
    ("#56b4e9", "P"),
    ("#ca9161", "<"),
    ("#8f7a00", ">"),
    ("#8c3a8c", "p"),
    ("#7a1f1f", "h"),
    ("#2f4fa0", "d"),
    ("#e377a2", "*"),
    ("#000000", "H"),
)


class Look(NamedTuple):
    """How a method is drawn."""

    colour: str
    marker: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each method: known ones have their own, new ones take one by their name's hash.

    A new method keeps its look from suite to suite, unless it meets another that hashes to the
    same one; then the later in the alphabet moves on. Past eight new methods looks come twice.
    """
    methods = list(methods)
    chosen = {name: Look(*_KNOWN[name]) for name in methods if name in _KNOWN}
    taken: set[int] = set()
    for name in sorted(set(methods) - set(_KNOWN)):
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
        ways = [(start + step) % len(_FREE) for step in range(len(_FREE))]
        place = next((way for way in ways if way not in taken), ways[0])
        taken.add(place)
        chosen[name] = Look(*_FREE[place])
    return chosen
