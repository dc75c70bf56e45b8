"""The pictures: those with nothing to say are left out; no display, no pyplot, no torch."""

from collections.abc import Callable, Iterator
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
PIXELS = 40_000_000  # a picture of hundreds of rows is made coarser, for a viewer must hold it
KINDS: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every picture that has something to say, with its name; at least one student must be done."""
    analysis = analyse(results)
    yield "accuracy", accuracy.draw(results)
    yield "curves", curves.draw(results)
    further: dict[str, Callable[[], Figure | None]] = {
        "cost": lambda: cost.draw(results),
        "ranks": lambda: ranks.draw(results, summarise_over_pairs(results, analysis)),
        "over-scratch": lambda: differences.draw(results, analysis, "scratch"),
        "over-kd": lambda: differences.draw(results, analysis, "kd"),
        "fidelity": lambda: fidelity.draw(results),
        "losses": lambda: losses.draw(results),
    }
    for name, draw in further.items():
        if (figure := draw()) is not None:
            yield name, figure


@mpl.rc_context(STYLE)
def encode(figure: Figure, kind: Literal["png", "pdf"]) -> bytes:
    """The picture as a file's bytes: the same picture gives the same bytes, so it has no date."""
    buffer = BytesIO()
    options: dict[str, Any] = {"metadata": {"CreationDate": None}}
    if kind == "png":
        options = {"pil_kwargs": {"compress_level": 3}}  # as small as by 6, in less time
    width, height = figure.get_size_inches()
    dpi = min(DPI, sqrt(PIXELS / (width * height)))
    figure.savefig(buffer, format=kind, dpi=dpi, **options)
    return buffer.getvalue()
