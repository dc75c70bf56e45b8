"""All tables of a suite, from one table of cells; those with nothing to say are left out."""

from collections.abc import Iterator
from statistics import fmean

from benchmark.report.statistics.analysis import Overall, Summary
from benchmark.report.statistics.significance import LEVEL
from benchmark.report.tables.cells import Row, Table, printed
from benchmark.report.tables.layout import DASH, MINUS, Entry, Grid, Layout, main, name, plus
from benchmark.report.tables.measured import measured


def layouts(table: Table) -> Iterator[Layout]:
    """Methods by pairs, over all pairs, by data sets; and by pairs what else is measured."""
    yield main(table)
    if table.summary is not None and any(line.columns for line in table.summary.lines):
        yield over_pairs(table, table.summary)
    if len({column.dataset for column in table.columns}) > 1:
        yield by_dataset(table)
    yield from measured(table)


def over_pairs(table: Table, summary: Summary) -> Layout:
    """Methods by what is said over all columns: mean differences, ranks, gap, ARI."""
    found = {line.name: line for line in summary.lines}
    ranking = summary.ranking
    ranks = {s.name: s.rank for s in ranking.standings} if ranking else {}
    heads = ["method", "columns", "mean Δ scratch", "not above scratch", "mean rank"]
    heads += ["gap closed (%)", "ARI over kd (%)"]
    rows = [
        (name(row), *(Entry(text) for text in _overall(found[row.name], ranks.get(row.name))))
        for row in table.students
    ]
    return Layout(
        table.suite,
        "over-pairs",
        f"{table.title}: over all pairs",
        Grid(tuple((head,) for head in heads), tuple((row,) for row in rows)),
        _says(summary, len(table.columns)),
        ruled=0,
    )


def by_dataset(table: Table) -> Layout:
    """Methods by data sets: means over the pairs, of which each counts where it is complete."""
    places: dict[str, list[int]] = {}
    for place, column in enumerate(table.columns):
        places.setdefault(column.shown[0] if column.shown else column.dataset, []).append(place)
    heads = [("method",), *((head,) for named in places for head in (named, "Δ scratch"))]
    rows = [
        (name(row), *(entry for chosen in places.values() for entry in _means(row, chosen, table)))
        for row in table.rows
    ]
    return Layout(
        table.suite,
        "data-sets",
        f"{table.title}: by data set",
        Grid(tuple(heads), tuple((row,) for row in rows)),
        "Means over a data set's pairs that are complete, in percent and percentage points; "
        "m of M: only m of the M pairs are in the mean, so that rows do not compare.",
        groups=(2,) * len(places),
        ruled=len(table.rows) - len(table.students),
    )


def _overall(line: Overall, rank: float | None) -> Iterator[str]:
    yield str(line.columns)
    yield "" if line.gain is None else plus(line.gain)
    yield f"{line.not_above}/{line.columns}" if line.columns and line.name != "scratch" else ""
    yield DASH if rank is None else f"{rank:.2f}"
    some = f" ({line.gaps}/{line.columns})" * (line.gaps != line.columns)
    yield "" if line.gap is None else f"{_whole(line.gap)}{some}"
    yield _whole(line.ari) if line.ari is not None else "n/d" if _comparable(line) else ""


def _comparable(line: Overall) -> bool:
    return line.columns > 0 and line.name not in ("scratch", "kd")


def _whole(percent: float) -> str:
    return f"{percent:.0f}".replace("-", MINUS)


def _says(summary: Summary, columns: int) -> str:
    sentences = [
        "Columns: in which all seeds are done, those of scratch too.",
        "Gap closed: (student - scratch) / (teacher - scratch), (k/m) where only k of m columns "
        "have a teacher above scratch by more than the noise.",
        "ARI: the mean of (method - kd) / (kd - scratch); n/d where kd is not above scratch by "
        "more than the pooled spread of paired differences in every column.",
    ]
    if ranking := summary.ranking:
        sentences.append(
            f"Ranks over the {ranking.blocks} of {columns} columns in which every ranked method is "
            "complete, 1 the best."
        )
        if ranking.p is not None and ranking.critical is not None:
            sentences.append(
                f"Friedman: chi-squared {ranking.chi2:.2f}, p {ranking.p:.2g}; by Nemenyi two mean "
                f"ranks differ at {100 * LEVEL:.0f} % from {ranking.critical:.2f} on."
            )
    if summary.unranked:
        sentences.append(
            f"Not ranked, as not applicable everywhere: {', '.join(summary.unranked)}."
        )
    return " ".join(sentences)


def _means(row: Row, places: list[int], table: Table) -> Iterator[Entry]:
    cells = [row.cells[place] for place in places]
    whole = [cell for cell in cells if cell.complete and cell.mean is not None]
    some = f" ({len(whole)} of {len(cells)})" * (len(whole) != len(cells))
    means = [cell.mean for cell in whole if cell.mean is not None]
    gains = [d.mean for cell in whole if "scratch" in table.references and (d := cell.deltas[0])]
    yield Entry(f"{printed(fmean(means))}{some}" if means else DASH)
    yield Entry(plus(fmean(gains)) if gains else "")
