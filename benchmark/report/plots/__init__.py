"""The report's pictures, drawn with matplotlib's figures: no pyplot state, no display, no torch.

Imports only the report's own results, statistics and tables. Start with `figures` below; style.py
holds what all pictures share, and each kind of picture has a module with a `draw` function.
"""

from collections.abc import Iterable, Iterator
from io import BytesIO
from math import sqrt
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.report.plots import accuracy, cost, curves, differences, fidelity, losses, ranks
from benchmark.report.plots.style import STYLE
from benchmark.report.results.outcomes import Results
from benchmark.report.statistics.analysis import analyse, summarise_over_pairs

__all__ = ["KINDS", "encode", "figures"]

DPI = 200
MAX_PIXELS = 40_000_000  # larger pictures get a lower resolution, so that viewers can open them
KINDS: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Yield every picture that shows something, with its name; at least one student must be done.

    A kind of picture that needs several has them numbered: `curves-1`, `curves-2`.
    """
    analysis = analyse(results)
    pictures: dict[str, Iterable[Figure]] = {
        "accuracy": accuracy.draw(results),
        "curves": curves.draw(results),
        "cost": cost.draw(results),
        "ranks": ranks.draw(results, summarise_over_pairs(results, analysis)),
        "over-scratch": differences.draw(results, analysis, "scratch"),
        "over-kd": differences.draw(results, analysis, "kd"),
        "fidelity": fidelity.draw(results),
        "losses": losses.draw(results),
    }
    for kind, drawn in pictures.items():
        yield from _number(kind, drawn)


def _number(kind: str, drawn: Iterable[Figure]) -> Iterator[tuple[str, Figure]]:
    """Yield figures with their names as they are drawn, since all at once would fill the memory."""
    figures = iter(drawn)
    first, second = next(figures, None), next(figures, None)
    if first is None:
        return
    if second is None:
        yield kind, first
        return
    yield f"{kind}-1", first
    yield f"{kind}-2", second
    for number, figure in enumerate(figures, start=3):
        yield f"{kind}-{number}", figure


@mpl.rc_context(STYLE)
def encode(figure: Figure, kind: Literal["png", "pdf"]) -> bytes:
    """Return the picture's file; the same picture gives the same bytes, so it has no date."""
    buffer = BytesIO()
    options: dict[str, Any] = {"metadata": {"CreationDate": None}}
    if kind == "png":
        options = {"pil_kwargs": {"compress_level": 3}}  # as small as level 6, in less time
    width, height = figure.get_size_inches()
    dpi = min(DPI, sqrt(MAX_PIXELS / (width * height)))
    figure.savefig(buffer, format=kind, dpi=dpi, **options)
    return buffer.getvalue()
