"""The colour and marker of each method, the same in every plot and on the page."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple


class MethodStyle(NamedTuple):
    """How a method is drawn: a hex colour and a matplotlib marker."""

    colour: str
    marker: str


# Five colours of Seaborn's colour-blind palette. Scratch is the baseline and no competitor, so it
# is dark grey.
FIXED_STYLES = {
    "scratch": MethodStyle("#4d4d4d", "o"),
    "kd": MethodStyle("#0173b2", "s"),
    "fitnets": MethodStyle("#de8f05", "^"),
    "at": MethodStyle("#029e73", "D"),
    "fsp": MethodStyle("#d55e00", "v"),
    "ab": MethodStyle("#cc78bc", "X"),
}
# Used for all other methods.
_FREE_STYLES = (
    MethodStyle("#56b4e9", "P"),
    MethodStyle("#ca9161", "<"),
    MethodStyle("#8f7a00", ">"),
    MethodStyle("#8c3a8c", "p"),
    MethodStyle("#7a1f1f", "h"),
    MethodStyle("#2f4fa0", "d"),
    MethodStyle("#e377a2", "*"),
    MethodStyle("#000000", "H"),
)
NEUTRAL_STYLE = MethodStyle("#4a5a8a", "o")
"""Shared by all methods without a fixed style if there are too many to give each its own."""


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Return the style of each method.

    Up to eight methods without a fixed style each get a style of their own. The hash of a method's
    name selects it, so a method keeps its style from suite to suite; of two methods with the same
    hash, the later one in the alphabet takes the next free style.

    Readers cannot tell more than about fourteen styles apart. With more than eight such methods,
    a style no longer identifies a method, so all of them get ``NEUTRAL_STYLE`` and are identified
    by their labels. Methods with a fixed style keep it, and their presets (`ab@crd`) share it.
    """
    names = list(dict.fromkeys(methods))
    new = sorted(set(names) - set(FIXED_STYLES))
    if len(new) > len(_FREE_STYLES):
        return {name: FIXED_STYLES.get(name.partition("@")[0], NEUTRAL_STYLE) for name in names}
    name_by_index: dict[int, str] = {}
    for name in new:
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
        indices = ((start + step) % len(_FREE_STYLES) for step in range(len(_FREE_STYLES)))
        name_by_index[next(index for index in indices if index not in name_by_index)] = name
    chosen = {name: _FREE_STYLES[index] for index, name in name_by_index.items()}
    return {name: FIXED_STYLES.get(name) or chosen[name] for name in names}
