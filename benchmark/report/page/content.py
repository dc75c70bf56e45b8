"""The data of the page as JSON: the cells of all tables, and the details of every run."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.report.page import thinning
from benchmark.report.page.missing import reason_without_result
from benchmark.report.page.published_values import PublishedByCell, published_by_cell
from benchmark.report.palette import method_styles
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.results.quantities import (
    QUANTITY_NAMES,
    flatten,
    measured_quantities,
    quantity_label,
)
from benchmark.report.tables.all_tables import layout_all_tables
from benchmark.report.tables.cells import Table, TableCell, TableRow
from benchmark.report.tables.layout import TableLayout, pair_heading
from benchmark.store.checkpoint import DamagedFileError
from benchmark.store.loading import load_failure

PAGE_SCHEMA = 1
MAX_POINTS_OF_PAGE = 60_000
"""The number of epochs in all histories together: sixty a run with a thousand runs."""
MIN_POINTS_OF_RUN, MAX_POINTS_OF_RUN = 12, 120
TRACEBACK_LINES = 12
"""How many lines of a traceback are kept: the last ones, which name the error."""
LINKED_FILES = ("record.json", "config.json", "failure.json", "student.pt")


@dataclass(frozen=True)
class PageSources:
    """Where the details of runs come from."""

    configs: Mapping[str, Mapping[str, Any]]
    """The resolved configuration of each run in the manifest, by run id."""
    runs: Path
    """The folder of all run folders."""
    folder: Path
    """The folder of the page; links are relative to it."""


@dataclass
class SharedValues:
    """A list of values that many runs share. A run refers to a value by its index."""

    values: list[Any] = field(default_factory=list)
    indices: dict[str, int] = field(default_factory=dict)

    def index_of(self, value: object) -> int:
        """Return the index of a value, which is added if it is not in the list yet."""
        key = json.dumps(value, sort_keys=True)
        if key not in self.indices:
            self.indices[key] = len(self.values)
            self.values.append(value)
        return self.indices[key]


def page_content(results: Results, table: Table, sources: PageSources) -> dict[str, Any]:
    """Return everything that the page shows, as values that JSON can hold."""
    grid, shared = results.manifest, SharedValues()
    outcomes = {
        _run_key(row, column, outcome): outcome
        for row in table.rows
        for column, cell in enumerate(row.cells)
        for outcome in cell.outcomes
    }
    run_indices = {key: index for index, key in enumerate(outcomes)}
    points = MAX_POINTS_OF_PAGE // max(1, len(outcomes))
    points = min(MAX_POINTS_OF_RUN, max(MIN_POINTS_OF_RUN, points))
    published = published_by_cell(results, table)
    rows = [_row_entry(row, run_indices, published, shared) for row in table.rows]
    layouts = [layout for layout in layout_all_tables(table) if layout.groups_are_pairs]
    return {
        "schema": PAGE_SCHEMA,
        **{key: getattr(table, key) for key in ("suite", "title", "caption", "references")},
        "measure": grid.measure,
        "seeds": grid.seeds,
        "columns": _column_entries(table),
        "tables": [_measure_table(layout, table) for layout in layouts],
        "looks": method_styles(grid.methods),
        "rows": rows,
        "notes": table.notes,
        "published": bool(published),
        "overall": asdict(table.summary) if table.summary else None,
        "runs": [_run_entry(outcome, sources, shared, points) for outcome in outcomes.values()],
        "pool": shared.values,
        "folder": quote(os.path.relpath(sources.runs, sources.folder).replace(os.sep, "/")),
    }


def _run_key(row: TableRow, column: int, outcome: Outcome) -> str:
    """Return the id of a run, which columns may share; without a run, a key of the table cell."""
    return outcome.run or f"{row.name} {column} {outcome.seed}"


def _row_entry(
    row: TableRow,
    run_indices: Mapping[str, int],
    published: PublishedByCell,
    shared: SharedValues,
) -> dict[str, Any]:
    cells = [
        _cell_entry(cell, [run_indices[_run_key(row, column, o)] for o in cell.outcomes])
        | {"published": [shared.index_of(v) for v in published.get((row.name, column), [])]}
        for column, cell in enumerate(row.cells)
    ]
    return {
        "name": row.name,
        "shown": row.display_name or row.name,
        "role": row.role,
        "cells": cells,
    }


def _column_entries(table: Table) -> list[dict[str, Any]]:
    with_dataset = len({column.dataset for column in table.columns}) > 1
    return [
        {
            "dataset": column.dataset,
            "teacher": column.teacher,
            "student": column.student,
            "head": [line for line in pair_heading(column, with_dataset) if line],
        }
        for column in table.columns
    ]


def _measure_table(layout: TableLayout, table: Table) -> dict[str, Any]:
    """Return a table of measures: for each row, the texts of each pair's cells."""
    grid, size = layout.grid, layout.groups[0]
    starts = range(1, len(grid.heads), size)
    names = [row.name for row in table.rows][-len(grid.blocks) :]
    return {
        "name": layout.name,
        "title": layout.title.removeprefix(f"{table.title}: "),
        "caption": layout.caption,
        "heads": [" ".join(filter(None, head[2:])) for head in grid.heads[1 : 1 + size]],
        "rows": {
            name: [[cell.text for cell in line[start : start + size]] for start in starts]
            for name, [line] in zip(names, grid.blocks, strict=True)
        },
    }


def _cell_entry(cell: TableCell, runs: Sequence[int]) -> dict[str, Any]:
    """Return a cell's numbers, unrounded. `runs` are the indices of its runs."""
    return {
        "runs": runs,
        "mean": cell.mean,
        "std": cell.std,
        "n": cell.n,
        "applicable": cell.applicable,
        "best": cell.best,
        "second": cell.second,
        "interval": cell.interval and [cell.interval.low, cell.interval.high],
        "gap": cell.gap,
        "tests": [t and [t.interval.low, t.interval.high, t.p, t.holm] for t in cell.tests],
        "deltas": [delta and [delta.mean, delta.n] for delta in cell.deltas],
        "notes": cell.notes,
    }


def _run_entry(
    outcome: Outcome, sources: PageSources, shared: SharedValues, points: int
) -> dict[str, Any]:
    """Return everything that the page shows of a run. `points` is the length of its curves."""
    folder = sources.runs / outcome.run if outcome.run else None
    record = _read_json(folder, "record.json") if outcome.record else {}
    config = dict(sources.configs.get(outcome.run or "", record.get("config", {})))
    resolved = {
        # A configuration refers to a teacher by its run id; show the teacher's configuration.
        key: sources.configs.get(value, value) if isinstance(value, str) else value
        for key, value in config.items()
    }
    entry: dict[str, Any] = {"id": outcome.run, "seed": outcome.seed, "state": outcome.state}
    entry["config"] = {key: shared.index_of(value) for key, value in resolved.items()}
    if folder:
        entry["files"] = [name for name in LINKED_FILES if (folder / name).is_file()]
        entry["folder"] = quote(str(outcome.run), safe="")
    if outcome.state == "done":
        return entry | _finished_run_fields(outcome, record, shared, points)
    if outcome.state == "failed":
        failure = _read_failure(folder)
        return entry | {"why": outcome.failure} | _failure_fields(failure, shared)
    reason = outcome.reason or reason_without_result(folder, config, sources.runs)
    return entry | {"why": reason}


def _finished_run_fields(
    outcome: Outcome, record: dict[str, Any], shared: SharedValues, points: int
) -> dict[str, Any]:
    history = record.get("history", [])
    indices = thinning.thinned_indices(history, points)
    best = outcome.record.best_on_test() if outcome.record and history else None
    return {
        "result": {k: _round_float(v) for k, v in flatten(record.get("result", {})).items()},
        "measured": _measured_fields(outcome, record, shared),
        "where": shared.index_of(record.get("environment", {})),
        "teacher": shared.index_of(record.get("teacher")),
        "times": [record.get("started"), record.get("finished")],
        "best": best and [best.epoch, best.top1],
        "axis": shared.index_of(thinning.epoch_axis(history, indices)),
        "top1": thinning.top1_hundredths(history, indices),
        "losses": thinning.thinned_losses(history, indices),
    }


def _measured_fields(outcome: Outcome, record: dict[str, Any], shared: SharedValues) -> list[Any]:
    """Return the index of the shared names and labels of quantities, and the run's values.

    The quantities are those of the CSV files, then any other fields of the record's cost.
    """
    values = {**dict.fromkeys(QUANTITY_NAMES), **measured_quantities(outcome)}
    values |= flatten(record.get("cost", {}))
    known = {name: value for name, value in values.items() if value is not None}
    names = [[name, quantity_label(name)] for name in known]
    return [shared.index_of(names), [_round_float(value, 4) for value in known.values()]]


def _failure_fields(failure: Mapping[str, Any], shared: SharedValues) -> dict[str, Any]:
    end = "\n".join((failure.get("traceback") or "").splitlines()[-TRACEBACK_LINES:])
    fields = {key: failure.get(key) for key in ("kind", "epoch", "phase", "when")}
    return {"failure": {**fields, "traceback": shared.index_of(end)}}


def _read_failure(folder: Path | None) -> dict[str, Any]:
    """Return a failure's JSON content; empty where it is damaged, or the record is."""
    try:
        return asdict(load_failure(folder / "failure.json")) if folder else {}
    except (FileNotFoundError, DamagedFileError):
        return {}


def _round_float(value: object, digits: int = 7) -> object:
    return thinning.round_significant(value, digits) if isinstance(value, float) else value


def _read_json(folder: Path | None, name: str) -> dict[str, Any]:
    """Return a JSON file of a run folder; empty if a new try of the run has just deleted it."""
    try:
        content: dict[str, Any] = json.loads((folder / name).read_bytes()) if folder else {}
    except FileNotFoundError:
        return {}
    return content
