"""What the page holds, as JSON: the table's cells, and of every run what a reader may ask for."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmark.report.page import thinning
from benchmark.report.page.literature import literature
from benchmark.report.page.missing import why
from benchmark.report.palette import method_styles
from benchmark.report.results.outcomes import Outcome, Results
from benchmark.report.results.quantities import NAMES, flat, label, quantities
from benchmark.report.tables.all_tables import layouts
from benchmark.report.tables.cells import Cell, Row, Table
from benchmark.report.tables.layout import Layout, pair

SCHEMA = 1
POINTS = 60_000  # epochs of all histories together: sixty a run of a thousand runs
FEWEST, MOST = 12, 120  # points of one
LINES = 12  # of a traceback: its end says what broke
FILES = ("record.json", "config.json", "failure.json", "student.pt")


@dataclass(frozen=True)
class Sources:
    """Where a page's facts come from, and the folder that it lies in."""

    configs: Mapping[str, Mapping[str, Any]]
    runs: Path
    folder: Path


@dataclass
class Pool:
    """Values that many runs share, each kept once; a run has their places."""

    values: list[Any] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def put(self, value: object) -> int:
        """The place of a value."""
        key = json.dumps(value, sort_keys=True)
        if key not in self.places:
            self.places[key] = len(self.values)
            self.values.append(value)
        return self.places[key]


def content(results: Results, table: Table, sources: Sources) -> dict[str, Any]:
    """All that the page shows. Raises ValueError for a number that is none."""
    grid, pool = results.manifest, Pool()
    outcomes = {
        _key(row, place, outcome): outcome
        for row in table.rows
        for place, cell in enumerate(row.cells)
        for outcome in cell.outcomes
    }
    places = {key: place for place, key in enumerate(outcomes)}
    points = min(MOST, max(FEWEST, POINTS // max(1, len(outcomes))))
    published = literature(results, table)
    rows = [
        {
            "name": row.name,
            "shown": row.shown or row.name,
            "role": row.role,
            "cells": [
                _cell(cell, [places[_key(row, place, outcome)] for outcome in cell.outcomes])
                | {"published": [pool.put(value) for value in published.get((row.name, place), [])]}
                for place, cell in enumerate(row.cells)
            ],
        }
        for row in table.rows
    ]
    return {
        "schema": SCHEMA,
        **{key: getattr(table, key) for key in ("suite", "title", "caption", "references")},
        "measure": grid.measure,
        "seeds": grid.seeds,
        "columns": _columns(table),
        "tables": [_sheet(layout, table) for layout in layouts(table) if layout.paired],
        "looks": method_styles(grid.methods),
        "rows": rows,
        "notes": table.notes,
        "published": bool(published),
        "overall": asdict(table.summary) if table.summary else None,
        "runs": [_run(outcome, sources, pool, points) for outcome in outcomes.values()],
        "pool": pool.values,
        "folder": quote(os.path.relpath(sources.runs, sources.folder).replace(os.sep, "/")),
    }


def _key(row: Row, place: int, outcome: Outcome) -> str:
    """A run's id, for two columns may share a run; where there is none, its place."""
    return outcome.run or f"{row.name} {place} {outcome.seed}"


def _columns(table: Table) -> list[dict[str, Any]]:
    several = len({column.dataset for column in table.columns}) > 1
    return [
        {
            "dataset": column.dataset,
            "teacher": column.teacher,
            "student": column.student,
            "head": [line for line in pair(column, several) if line],
        }
        for column in table.columns
    ]


def _sheet(layout: Layout, table: Table) -> dict[str, Any]:
    """A further table as it is printed: by row, and by column of the table, its texts."""
    grid, size = layout.grid, layout.groups[0]
    starts = range(1, len(grid.heads), size)
    names = [row.name for row in table.rows][-len(grid.blocks) :]
    return {
        "name": layout.name,
        "title": layout.title.removeprefix(f"{table.title}: "),
        "caption": layout.caption,
        "heads": [" ".join(filter(None, head[2:])) for head in grid.heads[1 : 1 + size]],
        "rows": {
            name: [[entry.text for entry in line[start : start + size]] for start in starts]
            for name, [line] in zip(names, grid.blocks, strict=True)
        },
    }


def _cell(cell: Cell, runs: Sequence[int]) -> dict[str, Any]:
    """A cell's numbers unrounded, as the other tables have them."""
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


def _run(outcome: Outcome, sources: Sources, pool: Pool, points: int) -> dict[str, Any]:
    folder = sources.runs / outcome.run if outcome.run else None
    record = _read(folder, "record.json") if outcome.record else {}
    known = dict(sources.configs.get(outcome.run or "", record.get("config", {})))
    config = {
        # A manifest names a teacher by its id; a reader wants to see what it is.
        key: sources.configs.get(value, value) if isinstance(value, str) else value
        for key, value in known.items()
    }
    made: dict[str, Any] = {"id": outcome.run, "seed": outcome.seed, "state": outcome.state}
    made["config"] = {key: pool.put(value) for key, value in config.items()}
    if folder:
        made["files"] = [name for name in FILES if (folder / name).is_file()]
        made["folder"] = quote(str(outcome.run), safe="")
    if outcome.state == "done":
        return made | _done(outcome, record, pool, points)
    if outcome.state == "failed":
        return made | {"why": outcome.failure} | _failed(_read(folder, "failure.json"), pool)
    return made | {"why": outcome.reason or why(folder, known, sources.runs)}


def _done(outcome: Outcome, record: dict[str, Any], pool: Pool, points: int) -> dict[str, Any]:
    history = record.get("history", [])
    places = thinning.kept(history, points)
    best = outcome.record.best_on_test() if outcome.record and history else None
    return {
        "result": {k: _figure(v) for k, v in flat(record.get("result", {})).items()},
        "measured": _measured(outcome, record, pool),
        "where": pool.put(record.get("environment", {})),
        "teacher": pool.put(record.get("teacher")),
        "times": [record.get("started"), record.get("finished")],
        "best": best and [best.epoch, best.top1],
        "axis": pool.put(thinning.axis(history, places)),
        "top1": thinning.hundredths(history, places),
        "losses": thinning.losses(history, places),
    }


def _measured(outcome: Outcome, record: dict[str, Any], pool: Pool) -> list[Any]:
    """Names, which runs share, and values: of all quantities, then what else the cost says."""
    found = {**dict.fromkeys(NAMES), **quantities(outcome)}
    found |= flat(record.get("cost", {}))
    known = {name: value for name, value in found.items() if value is not None}
    names = [[name, label(name)] for name in known]
    return [pool.put(names), [_figure(value, 4) for value in known.values()]]


def _failed(failure: Mapping[str, Any], pool: Pool) -> dict[str, Any]:
    end = "\n".join((failure.get("traceback") or "").splitlines()[-LINES:])
    about = {key: failure.get(key) for key in ("kind", "epoch", "phase", "when")}
    return {"failure": {**about, "traceback": pool.put(end)}}


def _figure(value: object, digits: int = 7) -> object:
    return thinning.rounded(value, digits) if isinstance(value, float) else value


def _read(folder: Path | None, name: str) -> dict[str, Any]:
    """A file that the table has been made from; empty where a retry has just removed it."""
    try:
        read: dict[str, Any] = json.loads((folder / name).read_bytes()) if folder else {}
    except FileNotFoundError:
        return {}
    return read
