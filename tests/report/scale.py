"""How long a report of many runs takes: `python -m tests.report.scale 1000 [--plots]`.

Generated records of 240 epochs, as the suite writes them, 13 pairs by as many rows as are needed,
three seeds. Processor time of this one process, of which the libraries' own threads are part.
"""

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmark import report
from tests.report.grids import PAIRS, finish_all, manifest

EPOCHS, SEEDS, COLUMNS = 240, 3, 13


def main(wanted: int, with_plots: bool) -> None:
    """Make records, report them, say what each step took."""
    rows = round(wanted / (COLUMNS * SEEDS))
    methods = ["scratch", "kd", *(f"row {place}" for place in range(rows - 2))]
    pairs = [(f"{PAIRS[i % 6][0]} {i}", PAIRS[i % 6][1]) for i in range(COLUMNS)]
    grid = manifest(methods, pairs, epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        finish_all(runs, grid)
        print(f"{len(grid['cells']) + COLUMNS} runs of {EPOCHS} epochs")
        steps = {"read": time.process_time()}
        outcome = report.load(grid, runs)
        steps["tables, with statistics"] = time.process_time()
        report.tables(outcome)
        steps["plots"] = time.process_time()
        if with_plots:
            report.pictures(outcome, Path(folder))
        times = [*steps.values(), time.process_time()]
    for name, (begin, end) in zip(steps, pairwise(times), strict=True):
        print(f"{name}: {end - begin:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), "--plots" in sys.argv)
