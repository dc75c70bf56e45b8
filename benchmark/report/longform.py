"""The table in long form for further analysis: one line per pair and method."""

from benchmark.report.table import Cell, Row, Table


def render(table: Table) -> str:
    """All that the table knows, unrounded; `;` between several footnotes."""
    import pandas as pd  # half a second that the other writers need not wait for

    lines = [
        {
            "suite": table.suite,
            "dataset": column.dataset,
            "teacher": column.teacher,
            "student": column.student,
            "role": row.role,
            "method": row.name,
            **_numbers(table, row.cells[place]),
            **_runs(row, row.cells[place]),
        }
        for place, column in enumerate(table.columns)
        for row in table.rows
    ]
    return pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")


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
