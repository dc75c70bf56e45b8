"""The JSON file that names the runs behind every number of a suite's tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmark.report.results.outcomes import Results
from benchmark.report.tables.cells import Table, TableCell


def render(results: Results, table: Table, files: Sequence[str]) -> str:
    """Return JSON: the names of the table files, the runs and numbers of every cell, the summary.

    `files` are the names of the table files.
    """
    grid, summary = results.manifest, table.summary
    content = {
        "schema": 1,
        "suite": grid.suite,
        "digest": grid.digest,
        "tables": list(files),
        "cells": [
            {
                **{key: getattr(column, key) for key in ("dataset", "teacher", "student")},
                "row": row.name,
                "role": row.role,
                **_cell(row.cells[index], table.references),
            }
            for index, column in enumerate(table.columns)
            for row in table.rows
        ],
        "resolvable": {
            name: detectable and {"points": detectable[0], "seeds": detectable[1]}
            for name, detectable in (table.resolvable or {}).items()
        },
        "over_pairs": summary and asdict(summary),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _cell(cell: TableCell, references: Sequence[str]) -> Mapping[str, Any]:
    return {
        "runs": [
            {
                "seed": outcome.seed,
                "run": outcome.run,
                "state": outcome.state,
                "top1": outcome.record.result.top1 if outcome.record else None,
            }
            for outcome in cell.outcomes
        ],
        "mean": cell.mean,
        "std": cell.std,
        "measured": {name: {"mean": mean, "n": n} for name, (mean, n) in cell.measured.items()},
        "interval": cell.interval and [cell.interval.low, cell.interval.high],
        "differences": {
            name: delta
            and {
                "mean": delta.mean,
                "n": delta.n,
                "interval": test and [test.interval.low, test.interval.high],
                "p": test and test.p,
                "holm": test and test.holm,
            }
            for name, delta, test in zip(references, cell.deltas, cell.tests, strict=True)
        },
    }
