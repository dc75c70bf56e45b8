"""Names as they are printed: their width, shortening, line breaks, and fonts for their characters.

Widths are in inches, sizes in points.
"""

import sys
import textwrap
from functools import cache

import matplotlib as mpl
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

PLACEHOLDER_FONTS = ("Last Resort", ".LastResort", "Adobe Blank")
"""Fonts that claim every character and draw a box or nothing."""


def text_width(text: str, size: float) -> float:
    """Return the width of one line of text in the current fonts."""
    properties = FontProperties(size=size)
    width, *_ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
    return float(width) / 72


def shorten(name: str, width: float, size: float) -> str:
    """Return a name on one line, with its end replaced by "…" if it is wider than `width`."""
    whole = escape(" ".join(name.split()))
    if text_width(whole, size) <= width:
        return whole
    letters = len(whole) - 1
    while letters > 1 and text_width(f"{whole[:letters]}…", size) > width:
        letters -= 1
    return f"{whole[:letters]}…"


def wrap(text: str, width: float, size: float) -> str:
    """Break a text into lines no wider than `width`, inside words only where a word is wider."""
    letters = max(1, len(text))
    lines = textwrap.wrap(text, letters)
    while letters > 1 and any(text_width(line, size) > width for line in lines):
        letters -= 1
        lines = textwrap.wrap(text, letters)
    return "\n".join(lines)


def with_minus(number: str) -> str:
    """Return a number as matplotlib's axes write it: with a minus sign, not a hyphen."""
    return number.replace("-", "\N{MINUS SIGN}")


def escape(text: str) -> str:
    """Replace each character that no current font has by its code: "\\u4e2d"."""
    known = set().union(*map(_characters, mpl.rcParams["font.family"]))
    return "".join(
        letter if ord(letter) in known else letter.encode("unicode_escape").decode()
        for letter in text
    )


@cache
def find_fonts(letters: frozenset[str]) -> tuple[str, ...]:
    """Return installed font families for the letters that DejaVu Sans does not have.

    Letters that no installed font has are reported on standard error, once.
    """
    missing = {ord(letter) for letter in letters if letter.isprintable()}
    missing -= _characters("DejaVu Sans")
    fonts = []
    while missing and (font := _best_font(missing)):
        fonts.append(font)
        missing -= _characters(font)
    if missing:
        print(
            f"note: no installed font has {' '.join(map(chr, sorted(missing)))}: plots show codes "
            f"instead (such as \\u{min(missing):x}). Install a font for that script, such "
            "as Noto Sans CJK, and write the report again.",
            file=sys.stderr,
        )
    return tuple(fonts)


def _best_font(missing: set[int]) -> str | None:
    """Return the font family that has the most of these characters; None if no font has any."""
    counts = {name: len(missing & _characters(name)) for name in sorted(_font_files())}
    best = max(counts, key=counts.__getitem__, default="")
    return best if counts.get(best) else None


@cache
def _characters(family: str) -> frozenset[int]:
    """Return the code points of a font family; none if its file cannot be read."""
    try:
        return frozenset(FT2Font(_font_files()[family]).get_charmap())
    except (KeyError, OSError, RuntimeError):
        return frozenset()


def _font_files() -> dict[str, str]:
    """Return the file of the regular font of each installed family."""
    return {
        font.name: font.fname
        for font in fontManager.ttflist
        if font.style == "normal"
        and str(font.weight) in {"400", "normal", "regular", "book"}
        and not font.name.startswith(PLACEHOLDER_FONTS)
    }
