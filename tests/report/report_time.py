"""How long a report of many runs takes: `python -m tests.report.report_time 1000`.

Generated records of 240 epochs, as the suite writes them, 13 pairs by as many rows as are needed,
three seeds. Processor time of this one process, of which the libraries' own threads are part.
"""

import gc
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmark import report
from benchmark.report import page
from tests.report.grids import PAIRS, finish_all, manifest

EPOCHS, SEEDS, COLUMNS = 240, 3, 13


def main(wanted: int) -> None:
    """Make records, report them, and print the time of each step and the size of the page."""
    gc.set_threshold(100_000, 20, 20)  # as the command does
    grid = make_grid(wanted)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        finish_all(runs, grid)
        print(f"{len(grid['cells']) + COLUMNS} runs of {EPOCHS} epochs")
        steps = {"reading": time.process_time()}
        data = report.ReportData(grid, runs, Path(folder))
        results = data.results
        steps["tables, with statistics"] = time.process_time()
        report.render_tables(results, data.table)
        steps["plots"] = time.process_time()
        names = {path.stem for path in report.render_plots(results, Path(folder))}
        steps["page"] = time.process_time()
        size = page.write(data).stat().st_size
        times = [*steps.values(), time.process_time()]
    for name, (begin, end) in zip(steps, pairwise(times), strict=True):
        print(f"{name}: {end - begin:.1f} s")
    print(f"all: {times[-1] - times[0]:.1f} s; {len(names)} plots; page: {size / 1e6:.1f} MB")


def make_grid(wanted: int) -> dict[str, Any]:
    """Return a manifest of about `wanted` runs."""
    rows = round(wanted / (COLUMNS * SEEDS))
    methods = ["scratch", "kd", *(f"row {place}" for place in range(rows - 2))]
    pairs = [(f"{PAIRS[i % 6][0]} {i}", PAIRS[i % 6][1]) for i in range(COLUMNS)]
    return manifest(methods, pairs, epochs=EPOCHS)


if __name__ == "__main__":
    main(int(sys.argv[1]))
