"""Which runs can start, which wait and for what; and how ready runs form cohorts and jobs."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.store import Store
from benchmark.transfer import Run

Status = Literal["done", "running", "ready", "failed", "blocked", "queued", "lost"]
"""failed: ready to be tried again; blocked: waits for what it needs. On a cluster, queued: a job
that may do it is in the queue; lost: it was there, and is no more.
"""


@dataclass(frozen=True)
class Job:
    """What one process is asked to do."""

    runs: list[str]
    results: str
    data: str
    device: str
    """cpu, cuda or cuda:N; for several processes, one for each: cuda:2,cuda:3."""
    plugins: list[str] = field(default_factory=list)
    """Files with methods."""

    def write(self, path: Path) -> None:
        """Write it where the job's command line will point."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what ``write`` wrote."""
        return cls(**json.loads(path.read_text()))


def statuses(runs: Mapping[str, Run], store: Store) -> dict[str, Status]:
    """Look up where every run stands."""
    needed = {need.id for run in runs.values() for need in run.needs}
    states = store.states([*runs, *(needed - runs.keys())])
    found: dict[str, Status] = {}
    for run_id, run in runs.items():
        state = states[run_id]
        if state in ("done", "running"):
            found[run_id] = state
        elif any(states[need.id] != "done" for need in run.needs):
            found[run_id] = "blocked"
        else:
            found[run_id] = "failed" if state == "failed" else "ready"
    return found


def next_cohort(
    ready: Sequence[Run], waited_for: set[str], workers: int, largest: int
) -> list[Run]:
    """Choose what a free worker starts next: runs that share a stream and a teacher.

    First what others wait for, without company that would slow it down. A cohort takes its whole
    group, for one teacher pass, unless that would leave other workers idle; membership is free,
    since it changes no number.
    """
    groups: dict[tuple[bool, str], list[Run]] = defaultdict(list)
    for run in ready:
        groups[run.id in waited_for, run.cohort_key].append(run)
    _, group = max(groups.items(), key=lambda item: (item[0][0], len(item[1])))
    fair = -(-len(ready) // workers)
    return group[: min(fair, largest)]


def waves(runs: Sequence[Run]) -> list[list[Run]]:
    """Part runs by what they need of each other: teachers, their students, probes of those."""
    by_id = {run.id: run for run in runs}

    def depth(run: Run) -> int:
        return max((1 + depth(by_id[n.id]) for n in run.needs if n.id in by_id), default=0)

    found: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        found[depth(run)].append(run)
    return [found[number] for number in sorted(found)]


def cohorts(runs: Sequence[Run], workers: int, largest: int) -> list[list[Run]]:
    """Part runs that can all start into cohorts, as few as keep ``workers`` jobs busy.

    As ``next_cohort`` does it for one worker, but all at once and evenly.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.cohort_key].append(run)
    fair = min(-(-len(runs) // workers), largest)
    found = []
    for group in groups.values():
        parts = -(-len(group) // fair)
        bounds = [len(group) * i // parts for i in range(parts + 1)]
        found += [group[a:b] for a, b in itertools.pairwise(bounds)]
    return found


class Array(NamedTuple):
    """Jobs that are queued as one."""

    cohorts: list[list[Run]]
    parallel: int
    """How many of them run at once, at most."""


def arrays(runs: Sequence[Run], workers: int, largest: int, limit: int) -> list[list[Array]]:
    """Part runs into waves, and those into arrays of at most ``limit`` jobs."""
    found = []
    for wave in waves(runs):
        made = cohorts(wave, workers, largest)
        parts = [made[i : i + limit] for i in range(0, len(made), limit)]
        found.append([Array(part, max(1, workers // len(parts))) for part in parts])
    return found


STATUS_WORDS: dict[Status, str] = {
    "done": "done",
    "running": "running now",
    "ready": "to do, ready to start",
    "failed": "failed, to be tried again",
    "blocked": "to do, once what they need is done",
}


def outline(manifest: Mapping[str, Any], found: Mapping[str, Status]) -> Iterator[str]:
    """Yield, line by line, what is done, what is to do and what cannot be."""
    yield f"{manifest['suite']}: {manifest['title']}, {len(found)} runs"
    for status, words in STATUS_WORDS.items():
        if ids := [run_id for run_id, its in found.items() if its == status]:
            yield from ["", f"{len(ids)} {words}", *(f"  {run_id}" for run_id in ids)]
    reasons = {
        f"  {cell['method']}, {column['teacher']} -> {column['student']}: {cell['reason']}"
        for cell in manifest["cells"]
        if cell["reason"]
        for column in [manifest["columns"][cell["column"]]]
    }
    if reasons:
        yield from ["", f"{len(reasons)} not applicable", *sorted(reasons)]
