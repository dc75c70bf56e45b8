"""The report's pictures, drawn with matplotlib's figures: no pyplot state, no display, no torch.

Imports only the report's own results, statistics and tables. Start with `figures` below; style.py
holds what all pictures share, and each kind of picture has a module with a `draw` function.
"""

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from math import sqrt
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf, PdfPages
from matplotlib.figure import Figure

from benchmark.report.plots import accuracy, cost, curves, differences, fidelity, losses, ranks
from benchmark.report.plots.style import STYLE
from benchmark.report.results.outcomes import Results
from benchmark.report.statistics.analysis import analyse, summarise_over_pairs

__all__ = ["encode_pdf", "encode_png", "figures", "files", "is_plot_of"]

DPI = 200
MAX_PIXELS = 40_000_000  # larger pictures get a lower resolution, so that viewers can open them
KINDS = ("accuracy", "curves", "cost", "ranks", "over-scratch", "over-kd", "fidelity", "losses")


def figures(results: Results) -> Iterator[tuple[str, Iterator[Figure]]]:
    """Yield the pictures of each kind, drawn as they are asked for.

    At least one student must be done. A kind that would show nothing has no pictures.
    """
    analysis = analyse(results)
    pictures: dict[str, Iterator[Figure]] = {
        "accuracy": accuracy.draw(results),
        "curves": curves.draw(results),
        "cost": cost.draw(results),
        "ranks": ranks.draw(results, summarise_over_pairs(results, analysis)),
        "over-scratch": differences.draw(results, analysis, "scratch"),
        "over-kd": differences.draw(results, analysis, "kd"),
        "fidelity": fidelity.draw(results),
        "losses": losses.draw(results),
    }
    yield from ((kind, pictures[kind]) for kind in KINDS)


def files(results: Results) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of every plot file with its name.

    Several pictures of a kind are numbered PNG files (`SUITE-curves-1.png`) and the pages of one
    PDF file, which then holds the fonts only once. Figures are dropped as soon as they are encoded.
    """
    for kind, drawn in figures(results):
        encoded: list[bytes] = []
        pdf = encode_pdf(_encode_each(drawn, encoded))
        name = f"{results.manifest.suite}-{kind}"
        for number, png in enumerate(encoded, start=1):
            yield f"{name}-{number}.png" if len(encoded) > 1 else f"{name}.png", png
        if encoded:
            yield f"{name}.pdf", pdf


def is_plot_of(suite: str, name: str) -> bool:
    """Whether a file name is one that `files` can give to a plot of this suite."""
    pattern = rf"{re.escape(suite)}-(?:{'|'.join(KINDS)})(?:-[1-9]\d*)?\.(?:png|pdf)"
    return re.fullmatch(pattern, name) is not None


def _encode_each(drawn: Iterable[Figure], encoded: list[bytes]) -> Iterator[Figure]:
    """Append each figure's PNG file to `encoded`, and pass the figure on."""
    for figure in drawn:
        encoded.append(encode_png(figure))
        yield figure


@mpl.rc_context(STYLE)
def encode_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file; the same picture gives the same bytes."""
    buffer = BytesIO()
    width, height = figure.get_size_inches()
    figure.dpi = min(DPI, sqrt(MAX_PIXELS / (width * height)))
    # `Figure.savefig` would draw a second time, to measure.
    # Compression level 3 gives files as small as level 6 does, in less time.
    FigureCanvasAgg(figure).print_png(  # type: ignore[no-untyped-call]
        buffer, pil_kwargs={"compress_level": 3}
    )
    return buffer.getvalue()


@mpl.rc_context(STYLE)
def encode_pdf(pages: Iterable[Figure]) -> bytes:
    """Return figures as the pages of a PDF file; it has no date: same pictures, same bytes."""
    buffer = BytesIO()
    metadata: dict[str, Any] = {"CreationDate": None}
    with PdfPages(buffer, metadata=metadata) as pdf:
        for figure in pages:
            FigureCanvasPdf(figure).print_pdf(pdf)  # type: ignore[no-untyped-call]
    return buffer.getvalue()
