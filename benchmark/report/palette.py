"""A method looks the same in every picture: its colour and its marker."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple


class MethodStyle(NamedTuple):
    """How a method is drawn."""

    colour: str
    marker: str


# Seaborn's colour-blind palette, the first six handed out for good; scratch, which is not a
# competitor but the ground the others stand on, is dark grey.
KNOWN_STYLES = {
    "scratch": MethodStyle("#4d4d4d", "o"),
    "kd": MethodStyle("#0173b2", "s"),
    "fitnets": MethodStyle("#de8f05", "^"),
    "at": MethodStyle("#029e73", "D"),
    "fsp": MethodStyle("#d55e00", "v"),
    "ab": MethodStyle("#cc78bc", "X"),
}
_FREE = (
    MethodStyle("#56b4e9", "P"),
    MethodStyle("#ca9161", "<"),
    MethodStyle("#8f7a00", ">"),
    MethodStyle("#8c3a8c", "p"),
    MethodStyle("#7a1f1f", "h"),
    MethodStyle("#2f4fa0", "d"),
    MethodStyle("#e377a2", "*"),
    MethodStyle("#000000", "H"),
)
OTHER_STYLE = MethodStyle("#4a5a8a", "o")


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """A look for each method, unlike every other's; of more than fourteen, a look for each kind.

    Known methods have their own look, new ones take one by their name's hash and so keep it from
    suite to suite, unless two hash to the same one; then the later in the alphabet moves on.

    The eye tells no more than about fourteen looks apart. Where there are more than eight new
    methods, a colour that two of them shared would say what is not so; there colour does not name
    a row any longer, for that its label is there, but shows the landmarks: the known methods keep
    their looks, their presets (`ab@crd`) wear them too, and all others are ``OTHERS``, slate.
    """
    names = list(dict.fromkeys(methods))
    new = sorted(set(names) - set(KNOWN_STYLES))
    if len(new) > len(_FREE):
        return {name: KNOWN_STYLES.get(name.partition("@")[0], OTHER_STYLE) for name in names}
    taken: dict[int, str] = {}
    for name in new:
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
        ways = ((start + step) % len(_FREE) for step in range(len(_FREE)))
        taken[next(way for way in ways if way not in taken)] = name
    chosen = {name: _FREE[place] for place, name in taken.items()}
    return {name: KNOWN_STYLES.get(name) or chosen[name] for name in names}
