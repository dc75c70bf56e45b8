"""The table in long form for further analysis: a line a cell, and a line a run."""

from collections.abc import Iterator, Mapping

from benchmark.report.results.outcomes import Column, Outcome
from benchmark.report.results.quantities import NAMES, quantities
from benchmark.report.tables.cells import Cell, Row, Table


def render(table: Table) -> str:
    """All that the table knows, unrounded; `;` between several footnotes."""
    return _written(
        {
            **_place(table, column, row),
            **_numbers(table, row.cells[place]),
            **dict.fromkeys(NAMES),  # the same columns whatever is known
            **{name: mean for name, (mean, _) in row.cells[place].measured.items()},
            **_runs(row, row.cells[place]),
        }
        for place, column in enumerate(table.columns)
        for row in table.rows
    )


def render_runs(table: Table) -> str:
    """A line a run of a cell: all that is measured of it, unrounded."""
    return _written(
        {**_place(table, column, row), **_run(outcome)}
        for place, column in enumerate(table.columns)
        for row in table.rows
        for outcome in row.cells[place].outcomes
    )


def _written(lines: Iterator[Mapping[str, object]]) -> str:
    import pandas as pd  # half a second that the other writers need not wait for

    return pd.DataFrame(list(lines)).to_csv(index=False, lineterminator="\n")


def _place(table: Table, column: Column, row: Row) -> dict[str, object]:
    where = {key: getattr(column, key) for key in ("dataset", "teacher", "student")}
    return {"suite": table.suite, **where, "role": row.role, "method": row.name}


def _run(outcome: Outcome) -> dict[str, object]:
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
    return {**values, **dict.fromkeys(NAMES), **quantities(outcome)}


def _numbers(table: Table, cell: Cell) -> dict[str, object]:
    values: dict[str, object] = {
        "state": _state(cell),
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


def _state(cell: Cell) -> str:
    """What of the cell matters most: complete, or why it is not."""
    states = {outcome.state for outcome in cell.outcomes}
    order = ("failed", "missing", "not applicable")
    return next((state for state in order if state in states), "done")


def _runs(row: Row, cell: Cell) -> dict[str, object]:
    values: dict[str, object] = {}
    for outcome in cell.outcomes:
        seed = "teacher" if row.role == "teacher" else f"seed{outcome.seed}"
        values[f"top1_{seed}"] = outcome.record.result.top1 if outcome.record else None
        values[f"run_{seed}"] = outcome.run
    return values
