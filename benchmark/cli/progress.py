"""Show the progress of a suite: a live table on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.config.errors import UserError
from benchmark.launch.status import Status
from benchmark.store.claim import read_claim
from benchmark.store.folder import RunFolder, Store

LOG_INTERVAL = 30.0
"""Seconds between lines of a log while no run ends."""
MAX_SEED_COLUMNS = 6
"""With more columns than this, the table has one for each pair instead of one for each seed."""
STYLES = {"done": "green", "running": "yellow", "failed": "red", "lost": "red"}


class RunProgress(NamedTuple):
    """How far a run is, in epochs, and the text of its table cell."""

    status: Status
    done: float
    total: float
    text: str


class ProgressDisplay:
    """Shows the status of a suite's runs; as a context manager, it keeps a table on a terminal."""

    def __init__(
        self, manifest: Mapping[str, Any], run_ids: Sequence[str], store: Store, console: Console
    ) -> None:
        self.manifest, self.run_ids, self.store, self.console = manifest, run_ids, store, console
        self.live = Live(console=console, refresh_per_second=4, transient=True)
        self.start = time.monotonic()
        self.last_line = float("-inf")
        self.done_at_start: float | None = None
        self.last_statuses: dict[str, Status] = {}
        self.finished: dict[str, RunProgress] = {}

    def __enter__(self) -> ProgressDisplay:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def update(self, statuses: Mapping[str, Status]) -> None:
        """Redraw the table, or print log lines for what has changed."""
        runs = self.read_progress(statuses)
        if self.done_at_start is None:
            self.done_at_start = sum(run.done for run in runs.values())
            self.last_statuses = {run_id: run.status for run_id, run in runs.items()}
        if self.console.is_terminal:
            self.live.update(Group(self.table(runs), self.footer(runs)))
        else:
            self.print_changes(runs)

    def print(self, statuses: Mapping[str, Status]) -> None:
        """Print the table once, with the number of runs in each status."""
        runs = self.read_progress(statuses)
        self.console.print(self.table(runs))
        counts = Counter(run.status for run in runs.values())
        self.console.print(", ".join(f"{n} {status}" for status, n in sorted(counts.items())))

    def read_progress(self, statuses: Mapping[str, Status]) -> dict[str, RunProgress]:
        """Return the progress of every run from its folder."""
        return {run_id: self.run_progress(run_id, statuses[run_id]) for run_id in self.run_ids}

    def run_progress(self, run_id: str, status: Status) -> RunProgress:
        """Return the progress of a run from its record or its claim."""
        if run_id in self.finished:
            return self.finished[run_id]
        epochs = float(self.manifest["runs"][run_id]["recipe"]["epochs"])
        folder = self.store.run(run_id)
        if status == "done":
            self.finished[run_id] = RunProgress(status, epochs, epochs, final_accuracy(folder))
            return self.finished[run_id]
        holder = read_claim(folder.path) if status == "running" else None
        if holder is not None and {"epoch", "epochs", "phase"} <= holder.progress.keys():
            done, total, phase = (holder.progress[key] for key in ("epoch", "epochs", "phase"))
            return RunProgress(status, epochs * done / total, epochs, f"{done}/{total} {phase}")
        text = "starting" if status == "running" else status
        return RunProgress(status, 0.0, epochs, text)

    # ------------------------------------------------------------ table

    def table(self, runs: Mapping[str, RunProgress]) -> Table:
        """Return a table of methods by pairs and seeds, or by pairs if the seeds do not fit."""
        columns, seeds = self.manifest["columns"], self.manifest["seeds"]
        by_seed = len(columns) * len(seeds) <= MAX_SEED_COLUMNS
        table = Table(title=self.manifest["title"], header_style="bold")
        table.add_column("method")
        for column in columns:
            name = f"{column['teacher']}\n-> {column['student']}"
            headings = [f"{name}\nseed {seed}" for seed in seeds] if by_seed else [name]
            for heading in headings:
                table.add_column(heading, justify="right", min_width=9)
        span = len(seeds) if by_seed else 1
        table.add_row("teacher", *self.teacher_row(runs, span), end_section=True)
        for method in self.manifest["methods"]:
            table.add_row(method, *self.method_row(method, runs, by_seed))
        return table

    def teacher_row(self, runs: Mapping[str, RunProgress], span: int) -> list[Text]:
        """Return each pair's teacher in the first of the pair's ``span`` cells."""
        row = []
        for column in self.manifest["columns"]:
            row += [run_cell(runs.get(column["teacher_run"])), *[Text("")] * (span - 1)]
        return row

    def method_row(self, method: str, runs: Mapping[str, RunProgress], by_seed: bool) -> list[Text]:
        """Return a cell for each run, or one for each pair with all its seeds."""
        row = []
        for i, _ in enumerate(self.manifest["columns"]):
            cells = [
                c for c in self.manifest["cells"] if c["column"] == i and c["method"] == method
            ]
            progress = [runs.get(cell["run"]) if cell["run"] else None for cell in cells]
            if by_seed:
                row += [run_cell(run) for run in progress]
            else:
                row.append(seeds_cell([run for run in progress if run]))
        return row

    def footer(self, runs: Mapping[str, RunProgress]) -> Table:
        """Return a progress bar over all epochs, with the summary beside it."""
        done, total = sum_epochs(runs)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(total=total, completed=done, width=40), Text(self.summary(runs)))
        return grid

    # ------------------------------------------------------------ log

    def print_changes(self, runs: Mapping[str, RunProgress]) -> None:
        """Print the runs that have ended since the last call, and at times the summary."""
        for run_id, run in runs.items():
            ended = run.status in ("done", "failed", "lost")
            if ended and self.last_statuses.get(run_id) != run.status:
                result = f"top-1 {run.text}" if run.status == "done" else run.text
                self.print_log_line(f"{run_id}  {run.status}  {result}")
            self.last_statuses[run_id] = run.status
        if time.monotonic() - self.last_line > LOG_INTERVAL:
            self.print_log_line(self.summary(runs))

    def print_log_line(self, line: str) -> None:
        """Print a line with the time of day, unwrapped."""
        self.last_line = time.monotonic()
        self.console.print(
            f"{datetime.now():%H:%M:%S}  {line}", soft_wrap=True, markup=False, highlight=False
        )

    # ------------------------------------------------------------ both

    def summary(self, runs: Mapping[str, RunProgress]) -> str:
        """Return the numbers of runs by status, the elapsed time and an estimate of the rest."""
        counts = Counter(run.status for run in runs.values())
        words = [f"{counts['done']}/{len(runs)} runs done"]
        words += [f"{counts[s]} {s}" for s in ("queued", "running", "failed", "lost") if counts[s]]
        done, total = sum_epochs(runs)
        elapsed = time.monotonic() - self.start
        done_since_start = done - (self.done_at_start or 0.0)
        words.append(f"{format_duration(elapsed)} elapsed")
        if done_since_start > 0.03 * total:  # earlier the rate is too uncertain
            left = elapsed / done_since_start * (total - done)
            words.append(f"about {format_duration(left)} left")
        return ", ".join(words)


def final_accuracy(folder: RunFolder) -> str:
    """Return the test top-1 of a finished run as text; `damaged` if its record cannot be read."""
    try:
        return f"{folder.load_record().result.top1:.2f}"
    except UserError:
        return "damaged"


def sum_epochs(runs: Mapping[str, RunProgress]) -> tuple[float, float]:
    """Return the epochs done and the epochs in total, without failed and lost runs."""
    counted = [run for run in runs.values() if run.status not in ("failed", "lost")]
    return sum(run.done for run in counted), sum(run.total for run in counted) or 1.0


def run_cell(run: RunProgress | None) -> Text:
    """Return the table cell of a run; None is a combination that does not apply."""
    if run is None:
        return Text("–", style="dim")
    return Text(run.text, style=STYLES.get(run.status, "dim"))


def seeds_cell(runs: Sequence[RunProgress]) -> Text:
    """Return the table cell of all seeds of a method and a pair."""
    if not runs:
        return Text("–", style="dim")
    counts = Counter(run.status for run in runs)
    text = Text(f"{counts['done']}/{len(runs)}", style="green" if counts["done"] else "dim")
    if counts["failed"]:
        text.append(f" {counts['failed']} failed", style="red")
    if counts["running"]:
        shares = [run.done / run.total for run in runs if run.status == "running"]
        text.append(f" {sum(shares) / len(shares):.0%}", style="yellow")
    return text


def format_duration(seconds: float) -> str:
    """Format a duration as minutes and seconds, or hours too: `1:05`, `2:10:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
