"""The layouts of all tables of a suite. Tables without data are left out."""

from collections.abc import Iterator
from statistics import fmean

from benchmark.report.statistics.analysis import MethodSummary, SuiteSummary
from benchmark.report.statistics.significance import ALPHA
from benchmark.report.tables.cells import Table, TableRow, format_percent
from benchmark.report.tables.layout import (
    DASH,
    MINUS,
    FormattedCell,
    TableLayout,
    TextGrid,
    format_row_name,
    format_signed,
    layout_main_table,
)
from benchmark.report.tables.measured import layout_measured


def layout_all_tables(table: Table) -> Iterator[TableLayout]:
    """Yield the main table, the summary over all pairs, the means by data set, and the measures."""
    yield layout_main_table(table)
    if table.summary is not None and any(line.columns for line in table.summary.lines):
        yield layout_over_pairs(table, table.summary)
    if len({column.dataset for column in table.columns}) > 1:
        yield layout_by_dataset(table)
    yield from layout_measured(table)


def layout_over_pairs(table: Table, summary: SuiteSummary) -> TableLayout:
    """Return methods by their means over all columns: differences, rank, gap closed, ARI."""
    summaries = {line.name: line for line in summary.lines}
    ranking = summary.ranking
    ranks = {s.name: s.rank for s in ranking.standings} if ranking else {}
    heads = ["method", "columns", "mean Δ scratch", "not above scratch", "mean rank"]
    heads += ["gap closed (%)", "ARI over kd (%)"]
    rows = [
        (
            format_row_name(row),
            *(
                FormattedCell(text)
                for text in _format_summary(summaries[row.name], ranks.get(row.name))
            ),
        )
        for row in table.students
    ]
    return TableLayout(
        table.suite,
        "over-pairs",
        f"{table.title}: over all pairs",
        TextGrid(tuple((head,) for head in heads), tuple((row,) for row in rows)),
        _over_pairs_caption(summary, len(table.columns)),
        teacher_blocks=0,
    )


def layout_by_dataset(table: Table) -> TableLayout:
    """Return methods by data sets: means over the pairs in which a method is complete."""
    columns_by_dataset: dict[str, list[int]] = {}
    for index, column in enumerate(table.columns):
        dataset = column.display_names[0] if column.display_names else column.dataset
        columns_by_dataset.setdefault(dataset, []).append(index)
    heads = [("method",)]
    heads += [(head,) for dataset in columns_by_dataset for head in (dataset, "Δ scratch")]
    rows = [
        (
            format_row_name(row),
            *(
                cell
                for indices in columns_by_dataset.values()
                for cell in _format_means(row, indices, table)
            ),
        )
        for row in table.rows
    ]
    return TableLayout(
        table.suite,
        "data-sets",
        f"{table.title}: by data set",
        TextGrid(tuple(heads), tuple((row,) for row in rows)),
        "Means over a data set's pairs that are complete, in percent and percentage points; "
        "m of M: only m of the M pairs are in the mean, so that rows do not compare.",
        groups=(2,) * len(columns_by_dataset),
        teacher_blocks=len(table.rows) - len(table.students),
    )


def _format_summary(line: MethodSummary, rank: float | None) -> Iterator[str]:
    yield str(line.columns)
    yield "" if line.gain is None else format_signed(line.gain)
    yield f"{line.not_above}/{line.columns}" if line.columns and line.name != "scratch" else ""
    yield DASH if rank is None else f"{rank:.2f}"
    count = f" ({line.gaps}/{line.columns})" * (line.gaps != line.columns)
    yield "" if line.gap is None else f"{_format_whole_percent(line.gap)}{count}"
    if line.ari is not None:
        yield _format_whole_percent(line.ari)
    else:
        yield "n/d" if _may_have_ari(line) else ""


def _may_have_ari(line: MethodSummary) -> bool:
    return line.columns > 0 and line.name not in ("scratch", "kd")


def _format_whole_percent(percent: float) -> str:
    return f"{percent:.0f}".replace("-", MINUS)


def _over_pairs_caption(summary: SuiteSummary, columns: int) -> str:
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
                f"ranks differ at {100 * ALPHA:.0f} % from {ranking.critical:.2f} on."
            )
    if summary.unranked:
        sentences.append(
            f"Not ranked, as not applicable everywhere: {', '.join(summary.unranked)}."
        )
    return " ".join(sentences)


def _format_means(row: TableRow, indices: list[int], table: Table) -> Iterator[FormattedCell]:
    """Yield a row's mean accuracy over some columns, and its mean difference to scratch."""
    cells = [row.cells[index] for index in indices]
    complete = [cell for cell in cells if cell.complete and cell.mean is not None]
    count = f" ({len(complete)} of {len(cells)})" * (len(complete) != len(cells))
    means = [cell.mean for cell in complete if cell.mean is not None]
    # Scratch, if the suite has it, is the first of the references.
    gains = [d.mean for cell in complete if "scratch" in table.references and (d := cell.deltas[0])]
    yield FormattedCell(f"{format_percent(fmean(means))}{count}" if means else DASH)
    yield FormattedCell(format_signed(fmean(gains)) if gains else "")
