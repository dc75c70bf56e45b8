"""What a person sees while a grid runs: a live table on a terminal, plain lines in a log."""

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

from benchmark.launch.status import Status
from benchmark.store.claim import read_claim
from benchmark.store.folder import Store

LINE_EVERY = 30.0  # seconds between lines of a log when nothing has ended
STYLES = {"done": "green", "running": "yellow", "failed": "red", "lost": "red"}


class Part(NamedTuple):
    """Where one run stands: how much of it is over, in epochs, and what to say of it."""

    status: Status
    done: float
    total: float
    text: str


class Watch:
    """Shows how a grid's runs stand. A context manager: a live table owns the screen."""

    def __init__(
        self, manifest: Mapping[str, Any], run_ids: Sequence[str], store: Store, console: Console
    ) -> None:
        self.manifest, self.run_ids, self.store, self.console = manifest, run_ids, store, console
        self.live = Live(console=console, refresh_per_second=4, transient=True)
        self.began = time.monotonic()
        self.spoke = float("-inf")
        self.done_at_start: float | None = None
        self.ended: dict[str, Status] = {}
        self.finished: dict[str, Part] = {}

    def __enter__(self) -> Watch:
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

    def show(self, statuses: Mapping[str, Status]) -> None:
        """Bring the screen or the log up to date."""
        parts = {run_id: self.part(run_id, statuses[run_id]) for run_id in self.run_ids}
        if self.done_at_start is None:
            self.done_at_start = sum(part.done for part in parts.values())
            self.ended = {run_id: part.status for run_id, part in parts.items()}
        if self.console.is_terminal:
            self.live.update(Group(self.table(parts), self.footer(parts)))
        else:
            self.lines(parts)

    def part(self, run_id: str, status: Status) -> Part:
        """Look up how far a run is."""
        if run_id in self.finished:
            return self.finished[run_id]
        epochs = float(self.manifest["runs"][run_id]["recipe"]["epochs"])
        folder = self.store.run(run_id)
        if status == "done":
            part = Part(status, epochs, epochs, f"{folder.read_record()['result']['top1']:.2f}")
            self.finished[run_id] = part
            return part
        holder = read_claim(folder.path) if status == "running" else None
        if holder is not None and holder.progress:
            done, total, phase = (holder.progress[key] for key in ("epoch", "epochs", "phase"))
            return Part(status, epochs * done / total, epochs, f"{done}/{total} {phase}")
        words = {
            "running": "starting",
            "ready": "waiting",
            "blocked": "needs others",
        }
        return Part(status, 0.0, epochs, words.get(status, status))

    def print(self, statuses: Mapping[str, Status]) -> None:
        """Print where everything stands now, once."""
        parts = {run_id: self.part(run_id, statuses[run_id]) for run_id in self.run_ids}
        self.console.print(self.table(parts))
        count = Counter(part.status for part in parts.values())
        self.console.print(", ".join(f"{n} {status}" for status, n in sorted(count.items())))

    # ------------------------------------------------------------ a terminal

    def table(self, parts: Mapping[str, Part]) -> Table:
        """Methods by pairs and seeds; by pairs alone where seeds would not fit."""
        columns, seeds = self.manifest["columns"], self.manifest["seeds"]
        wide = len(columns) * len(seeds) <= 6
        table = Table(title=self.manifest["title"], header_style="bold")
        table.add_column("method")
        for column in columns:
            name = f"{column['teacher']}\n-> {column['student']}"
            for heading in [f"{name}\nseed {seed}" for seed in seeds] if wide else [name]:
                table.add_column(heading, justify="right", min_width=9)
        table.add_row(
            "teacher", *self.teacher_row(parts, len(seeds) if wide else 1), end_section=True
        )
        for method in self.manifest["methods"]:
            table.add_row(method, *self.method_row(method, parts, wide))
        return table

    def teacher_row(self, parts: Mapping[str, Part], span: int) -> list[Text]:
        """One cell a pair."""
        row = []
        for column in self.manifest["columns"]:
            part = parts.get(column["teacher_run"])
            row += [shown(part), *[Text("")] * (span - 1)]
        return row

    def method_row(self, method: str, parts: Mapping[str, Part], wide: bool) -> list[Text]:
        """One cell a run, or one a pair that sums its seeds up."""
        row = []
        for i, _ in enumerate(self.manifest["columns"]):
            cells = [
                c for c in self.manifest["cells"] if c["column"] == i and c["method"] == method
            ]
            found = [parts.get(cell["run"]) if cell["run"] else None for cell in cells]
            if wide:
                row += [shown(part) for part in found]
            else:
                row.append(summed([part for part in found if part]))
        return row

    def footer(self, parts: Mapping[str, Part]) -> Table:
        """A bar over all epochs, and the words beside it."""
        done, total = totals(parts)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(total=total, completed=done, width=40), Text(self.summary(parts)))
        return grid

    # ------------------------------------------------------------ a log

    def lines(self, parts: Mapping[str, Part]) -> None:
        """Say what has ended since last time, and now and then where everything stands."""
        for run_id, part in parts.items():
            if part.status in ("done", "failed", "lost") and self.ended.get(run_id) != part.status:
                result = f"top-1 {part.text}" if part.status == "done" else part.text
                self.say(f"{run_id}  {part.status}  {result}")
            self.ended[run_id] = part.status
        if time.monotonic() - self.spoke > LINE_EVERY:
            self.say(self.summary(parts))

    def say(self, line: str) -> None:
        """Print a line as it is, however long."""
        self.spoke = time.monotonic()
        self.console.print(
            f"{datetime.now():%H:%M:%S}  {line}", soft_wrap=True, markup=False, highlight=False
        )

    # ------------------------------------------------------------ both

    def summary(self, parts: Mapping[str, Part]) -> str:
        """Count the runs and estimate the time that is left."""
        count = Counter(part.status for part in parts.values())
        words = [f"{count['done']}/{len(parts)} runs done"]
        words += [f"{count[s]} {s}" for s in ("queued", "running", "failed", "lost") if count[s]]
        done, total = totals(parts)
        elapsed = time.monotonic() - self.began
        fresh = done - (self.done_at_start or 0.0)
        words.append(f"{clock(elapsed)} elapsed")
        # Before a few percent are done the rate says nothing.
        if fresh > 0.03 * total:
            words.append(f"about {clock(elapsed / fresh * (total - done))} left")
        return ", ".join(words)


def totals(parts: Mapping[str, Part]) -> tuple[float, float]:
    """Sum epochs done and epochs in all; a failed or lost run has nothing left."""
    counted = [part for part in parts.values() if part.status not in ("failed", "lost")]
    return sum(part.done for part in counted), sum(part.total for part in counted) or 1.0


def shown(part: Part | None) -> Text:
    """Render one run."""
    return (
        Text("–", style="dim")
        if part is None
        else Text(part.text, style=STYLES.get(part.status, "dim"))
    )


def summed(parts: Sequence[Part]) -> Text:
    """Render a pair's seeds together."""
    if not parts:
        return Text("–", style="dim")
    count = Counter(part.status for part in parts)
    text = Text(f"{count['done']}/{len(parts)}", style="green" if count["done"] else "dim")
    if count["failed"]:
        text.append(f" {count['failed']} failed", style="red")
    if count["running"]:
        share = (
            sum(part.done / part.total for part in parts if part.status == "running")
            / count["running"]
        )
        text.append(f" {share:.0%}", style="yellow")
    return text


def clock(seconds: float) -> str:
    """Render a duration: 1:05, 2:10:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
