"""What a whole suite would take on this device: computed from steps that are timed just then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmark.config.runs import Run, TrainRun
from benchmark.estimate.forecast import seconds_of
from benchmark.estimate.kinds import Pace, Sort, Subject, amount, images_of, sort_of
from benchmark.estimate.paces import by_likeness, in_turns
from benchmark.estimate.timing import examine
from benchmark.launch.machine import Paths
from benchmark.launch.schedule import arrays
from benchmark.speed.tables import Sheet
from benchmark.suite.suite import Planned

LARGEST = 8
"""Learners in a cohort: what machine files have by default."""


class Line(NamedTuple):
    """The runs of one method on one pair; seeds differ."""

    teacher: str
    student: str
    method: str
    runs: int
    epochs: int
    hours: float | None
    """Of one of them alone; None: unknown."""
    origin: str


@dataclass(frozen=True)
class Cost:
    """A suite, computed."""

    suite: str
    facts: Mapping[str, Any]
    lines: Sequence[Line]
    cohorts: int
    hours: float
    """Device-hours in cohorts."""

    @property
    def alone(self) -> float:
        """Device-hours with every run on its own."""
        return sum(line.runs * line.hours for line in self.lines if line.hours)

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "schema": 1,
            "suite": self.suite,
            "computed": True,
            "facts": dict(self.facts),
            "lines": [line._asdict() for line in self.lines],
            "cohorts": self.cohorts,
            "device_hours": {"cohorts": self.hours, "alone": self.alone},
        }


def cost(
    suite: Planned, paths: Paths, device: str, seconds: float, facts: Mapping[str, Any]
) -> Cost:
    """Time one step of every phase of one run of each sort, as far as the seconds go."""
    runs = list(suite.select("").values())
    subjects = {
        sort_of(run): Subject(run, images, True)
        for run in reversed(runs)
        if isinstance(run, TrainRun) and (images := images_of(run.dataset))
    }
    order = in_turns(subjects)
    found = examine([subjects[sort] for sort in order], paths.data, paths.plugins, device, seconds)
    paces = {sort: one.pace for sort, one in zip(order, found, strict=True) if one.pace}
    paces |= by_likeness({sort_of(run) for run in runs} - paces.keys(), paces)
    plan = arrays(runs, 1, LARGEST, None)
    jobs = [cohort for wave in plan for array in wave for cohort in array.cohorts]
    hours = sum(seconds_of(cohort, paces) for cohort in jobs) / 3600
    return Cost(suite.name, facts, list(lines(runs, paces)), len(jobs), hours)


def lines(runs: Sequence[Run], paces: Mapping[Sort, Pace]) -> Iterator[Line]:
    """Yield a line for each sort and length."""
    alike: dict[tuple[Sort, int], list[Run]] = defaultdict(list)
    for run in runs:
        alike[sort_of(run), run.recipe.epochs].append(run)
    for (sort, epochs), some in alike.items():
        pace = paces.get(sort)
        hours = pace and amount(some[0]) * (pace.own + pace.shared) / 3600
        origin = pace.origin if pace else "unknown"
        yield Line(sort.teacher or "", sort.student, sort.method, len(some), epochs, hours, origin)


def sheet(found: Cost) -> Sheet:
    """Sum up by pairs."""
    pairs: dict[str, list[Line]] = defaultdict(list)
    for line in found.lines:
        name = f"{line.teacher} -> {line.student}" if line.teacher else f"{line.student} alone"
        pairs[name].append(line)
    rows = [row(name, some) for name, some in pairs.items()]
    total = row("all, every run on its own", found.lines)
    rows += [
        total,
        [f"all, in {found.cohorts} cohorts", total[1], short(found.hours), *total[3:]],
    ]
    note = (
        "Computed, not measured: seconds of steps timed just now on noise, times epochs, times "
        "runs, evaluation included; like: as others of the same student; unknown runs are not "
        f"counted. Device-hours on {found.facts['device']}: so many hours where one job runs at "
        "a time, half of them where two do."
    )
    columns = ["pair", "runs", "device-hours", "hours a run", "timed", "like", "unknown"]
    return Sheet(f"What {found.suite} would take", columns, rows, note)


def row(name: str, some: Sequence[Line]) -> list[str]:
    """Return one pair's row."""
    hours = [line.hours for line in some if line.hours]
    spread = f"{short(min(hours))}..{short(max(hours))}" if hours else "-"
    total = sum(line.runs * (line.hours or 0) for line in some)
    by = (sum(line.runs for line in some if line.origin == o) for o in ORIGINS)
    return [name, str(sum(line.runs for line in some)), short(total), spread, *map(str, by)]


def short(hours: float) -> str:
    """Write hours with three digits."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


ORIGINS = "calibration", "likeness", "unknown"
