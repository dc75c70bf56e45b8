"""The caption of the main table: what a reader needs to know to read its numbers."""

from benchmark.report.statistics.analysis import Analysis
from benchmark.report.statistics.significance import ALPHA
from benchmark.store.manifest import Manifest, ManifestColumn

SIGNIFICANCE_MARKS = ("†", "‡")
"""The mark of a significant difference to each reference, in the order of the references."""


def table_caption(
    grid: Manifest, columns: tuple[ManifestColumn, ...], analysis: Analysis, complete: bool
) -> str:
    """Return the caption: data, epochs, seeds, marks, tests and the detectable difference.

    `complete` says whether all seeds of all applicable cells are done.
    """
    n = len(grid.seeds)
    initialising = {"inside": "included", "extra": "on top"}[grid.init_epochs]
    epochs = f"{grid.epochs} epoch{'s' * (grid.epochs != 1)}"
    sentences = [
        f"{grid.measure.capitalize()} (%) on {_describe_data(grid, columns)},",
        f"after the last of {epochs}",
        f"(epochs of initialising phases {initialising}).",
        f"Mean ± sample standard deviation over {n} seed{'s' * (n != 1)};",
        "bold: the best mean among the complete student rows, underlined: the second.",
    ]
    sentences += [f"Column {probe}." for probe in grid.probes]
    sentences += _describe_differences(analysis)
    if grid.departures:
        sentences.append(f"Not at the default: {'; '.join(grid.departures)}.")
    if not complete:
        sentences.append(f"k/{n}: only k of {n} seeds are done.")
    return " ".join(sentences)


def _describe_data(grid: Manifest, columns: tuple[ManifestColumn, ...]) -> str:
    limit = "" if grid.dataset_limit is None else f" (limited to {grid.dataset_limit} images)"
    if grid.validation is not None:
        limit = f", {grid.validation:,} held-out train images{limit}"
    pair = ""
    if len(columns) == 1:
        pair = f", teacher {columns[0].teacher}, student {columns[0].student}"
    return f"{grid.dataset}{limit}{pair}"


def _describe_differences(analysis: Analysis) -> list[str]:
    """Return sentences on the differences. Tests are left out if there are none."""
    if not analysis.references:
        return []
    references = " and to ".join(analysis.references)
    sentences = [f"Δ: difference to {references} in percentage points, paired by seed."]
    if analysis.family:
        marks = ", ".join(
            f"{mark} from {name}"
            for mark, name in zip(SIGNIFICANCE_MARKS, analysis.references, strict=False)
        )
        plural = "s" * (analysis.family != 1)
        sentences.append(
            f"{marks}: different by a paired t-test at {100 * ALPHA:.0f} % after Holm's "
            f"correction over the suite's {analysis.family} comparison{plural}."
        )
    return [*sentences, _describe_detectable_difference(analysis)]


def _describe_detectable_difference(analysis: Analysis) -> str:
    known = [(name, *detectable) for name, detectable in analysis.resolvable.items() if detectable]
    if not known:
        return "The smallest difference that these seeds resolve: unknown."
    several = len(analysis.resolvable) > 1
    differences = ", ".join(
        f"{points:.2f} points with {n} seeds" + f" ({name})" * several for name, points, n in known
    )
    return (
        f"The smallest true difference that one such test finds in 80 of 100 cases, uncorrected: "
        f"{differences}."
    )
