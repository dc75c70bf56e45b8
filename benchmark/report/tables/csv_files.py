"""Tables as CSV files in long form, for further analysis: one line a cell, or one line a run."""

from collections.abc import Iterator, Mapping

from benchmark.report.results.outcomes import Outcome
from benchmark.report.results.quantities import QUANTITY_NAMES, measured_quantities
from benchmark.report.tables.cells import Table, TableCell, TableRow
from benchmark.store.manifest import ManifestColumn


def render(table: Table) -> str:
    """Return one line a cell with all of its numbers, unrounded. Footnotes are joined by `; `."""
    return _to_csv(
        {
            **_identity_columns(table, column, row),
            **_cell_columns(table, row.cells[index]),
            **dict.fromkeys(QUANTITY_NAMES),  # all files have the same columns in the same order
            **{name: mean for name, (mean, _) in row.cells[index].measured.items()},
            **_columns_by_seed(row, row.cells[index]),
        }
        for index, column in enumerate(table.columns)
        for row in table.rows
    )


def render_runs(table: Table) -> str:
    """Return one line a run with everything that is measured of it, unrounded."""
    return _to_csv(
        {**_identity_columns(table, column, row), **_run_columns(outcome)}
        for index, column in enumerate(table.columns)
        for row in table.rows
        for outcome in row.cells[index].outcomes
    )


def _to_csv(lines: Iterator[Mapping[str, object]]) -> str:
    import pandas as pd  # takes 0.5 s, which the other writers need not spend

    safe = [{name: without_formula(value) for name, value in line.items()} for line in lines]
    return pd.DataFrame(safe).to_csv(index=False, lineterminator="\n")


def without_formula(value: object) -> object:
    """Return a cell; text that a spreadsheet would take for a formula begins with an apostrophe."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


def _identity_columns(table: Table, column: ManifestColumn, row: TableRow) -> dict[str, object]:
    pair = {key: getattr(column, key) for key in ("dataset", "teacher", "student")}
    return {"suite": table.suite, **pair, "role": row.role, "method": row.name}


def _run_columns(outcome: Outcome) -> dict[str, object]:
    values: dict[str, object] = {
        "seed": "" if outcome.seed is None else str(outcome.seed),
        "run": outcome.run,
        "state": outcome.state,
    }
    record = outcome.record
    last = record.result if record else None
    best = record.best_on_test() if record and record.history else None
    values |= {key: getattr(last, key, None) for key in ("top1", "top5", "epoch")}
    values |= {"best_on_test": best and best.top1, "best_on_test_epoch": best and best.epoch}
    return {**values, **dict.fromkeys(QUANTITY_NAMES), **measured_quantities(outcome)}


def _cell_columns(table: Table, cell: TableCell) -> dict[str, object]:
    values: dict[str, object] = {
        "state": _state_of_cell(cell),
        "n": cell.n,
        "wanted": cell.wanted,
        "mean": cell.mean,
        "std": cell.std,
        "best": cell.best,
        "second": cell.second,
        "low": cell.interval.low if cell.interval else None,
        "high": cell.interval.high if cell.interval else None,
        "gap_closed": cell.gap,
    }
    for name, delta, test in zip(table.references, cell.deltas, cell.tests, strict=True):
        values[f"delta_{name}"] = delta.mean if delta else None
        values[f"delta_{name}_n"] = delta.n if delta else 0
        values[f"delta_{name}_low"] = test.interval.low if test else None
        values[f"delta_{name}_high"] = test.interval.high if test else None
        values[f"delta_{name}_p"] = test.p if test else None
        values[f"delta_{name}_holm"] = test.holm if test else None
    return values | {"notes": "; ".join(table.notes[note] for note in cell.notes)}


def _state_of_cell(cell: TableCell) -> str:
    """Return "done" for a complete cell, otherwise the most important state of its runs."""
    states = {outcome.state for outcome in cell.outcomes}
    order = ("failed", "missing", "not applicable")
    return next((state for state in order if state in states), "done")


def _columns_by_seed(row: TableRow, cell: TableCell) -> dict[str, object]:
    values: dict[str, object] = {}
    for outcome in cell.outcomes:
        seed = "teacher" if row.role == "teacher" else f"seed{outcome.seed}"
        values[f"top1_{seed}"] = outcome.record.result.top1 if outcome.record else None
        values[f"run_{seed}"] = outcome.run
    return values
