"""What a reader must know to read a table's numbers, in the words that stand below it."""

from benchmark.report.results.outcomes import Column, Manifest
from benchmark.report.statistics.analysis import Analysis
from benchmark.report.statistics.significance import LEVEL

DAGGERS = ("†", "‡")  # of the differences, in the references' order


def caption(grid: Manifest, columns: tuple[Column, ...], analysis: Analysis, complete: bool) -> str:
    """Data, epoch, seeds, spread, budget, marks, and what the seeds can tell apart."""
    n = len(grid.seeds)
    initialising = {"inside": "included", "extra": "on top"}[grid.init_epochs]
    epochs = f"{grid.epochs} epoch{'s' * (grid.epochs != 1)}"
    sentences = [
        f"{grid.measure.capitalize()} (%) on {_data(grid, columns)},",
        f"after the last of {epochs}",
        f"(epochs of initialising phases {initialising}).",
        f"Mean ± sample standard deviation over {n} seed{'s' * (n != 1)};",
        "bold: the best mean among the complete student rows, underlined: the second.",
    ]
    sentences += [f"Column {probe}." for probe in grid.probes]
    sentences += _differences(analysis)
    if grid.departures:
        sentences.append(f"Not at the default: {'; '.join(grid.departures)}.")
    if not complete:
        sentences.append(f"k/{n}: only k of {n} seeds are done.")
    return " ".join(sentences)


def _data(grid: Manifest, columns: tuple[Column, ...]) -> str:
    limit = "" if grid.dataset_limit is None else f" (limited to {grid.dataset_limit} images)"
    if grid.validation is not None:
        limit = f", {grid.validation:,} held-out train images{limit}"
    pair = ""
    if len(columns) == 1:
        pair = f", teacher {columns[0].teacher}, student {columns[0].student}"
    return f"{grid.dataset}{limit}{pair}"


def _differences(analysis: Analysis) -> list[str]:
    """How differences are taken and tested; nothing is said of a test that was not made."""
    if not analysis.references:
        return []
    to = " and to ".join(analysis.references)
    sentences = [f"Δ: difference to {to} in percentage points, paired by seed."]
    if analysis.family:
        marks = ", ".join(
            f"{mark} from {name}" for mark, name in zip(DAGGERS, analysis.references, strict=False)
        )
        several = "s" * (analysis.family != 1)
        sentences.append(
            f"{marks}: different by a paired t-test at {100 * LEVEL:.0f} % after Holm's "
            f"correction over the suite's {analysis.family} comparison{several}."
        )
    return [*sentences, _resolution(analysis)]


def _resolution(analysis: Analysis) -> str:
    """How small a difference the seeds at hand can tell from none."""
    known = [(name, *found) for name, found in analysis.resolvable.items() if found]
    if not known:
        return "The smallest difference that these seeds resolve: unknown."
    several = len(analysis.resolvable) > 1
    told = ", ".join(
        f"{points:.2f} points with {n} seeds" + f" ({name})" * several for name, points, n in known
    )
    return (
        f"The smallest true difference that one such test finds in 80 of 100 cases, uncorrected: "
        f"{told}."
    )
