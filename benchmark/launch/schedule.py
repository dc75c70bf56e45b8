"""Which runs can start, which wait and for what; and how ready runs form cohorts and jobs."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from benchmark.config.runs import Run, TrainRun, needs_of


def hosts_of(runs: Iterable[Run], waited_for: Set[str]) -> dict[str, TrainRun]:
    """Find for baselines, by id, a run to join: the first to distil into their network.

    A baseline has no teacher and nobody waits for it; beside such a run its batches are there
    already, and on a GPU so is the launch.
    """
    trained = [r for r in runs if isinstance(r, TrainRun) and r.id not in waited_for]
    taught: dict[tuple[str, str], TrainRun] = {}
    for run in trained:
        if run.teacher is not None:
            taught.setdefault((run.stream_key, run.student), run)
    baselines = (run for run in trained if run.teacher is None)
    found = ((run.id, taught.get((run.stream_key, run.student))) for run in baselines)
    return {run_id: host for run_id, host in found if host is not None}


def groups_of(runs: Sequence[Run], waited_for: Set[str], most: int) -> list[tuple[bool, list[Run]]]:
    """Part runs into those that can be trained together, and say which are waited for.

    Those have no company that would slow them down. Baselines are the last of their hosts' group,
    as many as find a place there: for them no cohort of ``most`` is cut, with its own teacher pass.
    """
    hosts = hosts_of(runs, waited_for)
    groups: dict[tuple[bool, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.id in hosts):
        key = run.id in waited_for, run.cohort_key
        if run.id in hosts and len(groups[False, hosts[run.id].cohort_key]) % most:
            key = False, hosts[run.id].cohort_key
        groups[key].append(run)
    return [(waited, group) for (waited, _), group in groups.items()]


def next_cohort(
    ready: Sequence[Run], waited_for: Set[str], workers: int, largest: int
) -> list[Run]:
    """Choose what a free worker starts next: runs that share a stream and at most one teacher.

    First what others wait for. A cohort takes its whole group, for one teacher pass, unless that
    would leave other workers idle; membership is free, since it changes no number. Of a group in
    parts the last comes first, so that who rides is not left over.
    """
    most = most_of(len(ready), workers, largest)
    _, group = max(groups_of(ready, waited_for, most), key=lambda item: (item[0], len(item[1])))
    return cut(group, most)[-1]


def most_of(count: int, workers: int, largest: int) -> int:
    """Return how many of so many runs a cohort may have, so that no worker goes without."""
    return min(-(-count // workers), largest)


def cut(group: Sequence[Run], most: int) -> list[list[Run]]:
    """Cut a group evenly into as few parts as have at most so many runs."""
    parts = -(-len(group) // most)
    bounds = [len(group) * i // parts for i in range(parts + 1)]
    return [list(group[a:b]) for a, b in itertools.pairwise(bounds)]


def waves(runs: Sequence[Run], workers: int, largest: int, queued: bool) -> list[list[Run]]:
    """Part runs by what they need of each other: teachers, their students, probes of those.

    A baseline goes with its host where it finds a place in a cohort. Where there is no queue
    (``queued``) it does not wait for it while a worker would be idle.
    """
    by_id, waited_for = {run.id: run for run in runs}, needs_of(runs)

    def depth(run: Run) -> int:
        return max((1 + depth(by_id[n.id]) for n in run.needs if n.id in by_id), default=0)

    hosts = hosts_of(sorted(runs, key=depth), waited_for)
    found: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        if run.id not in hosts:
            found[depth(run)].append(run)
    could = Counter(depth(hosts.get(run.id, run)) for run in runs)
    most = {number: most_of(count, workers, largest) for number, count in could.items()}
    taken = Counter(run.cohort_key for run in runs if run.id not in hosts.keys() | waited_for)
    waits = queued or len(found[0]) >= workers
    for run_id, host in hosts.items():
        ride = waits and taken[host.cohort_key] % most[depth(host)] > 0
        taken[host.cohort_key] += ride
        found[depth(host) if ride else 0].append(by_id[run_id])
    return [found[number] for number in sorted(found) if found[number]]


def cohorts(
    runs: Sequence[Run], waited_for: Set[str], workers: int, largest: int
) -> list[list[Run]]:
    """Part runs that can all start into cohorts, as few as keep ``workers`` jobs busy.

    As ``next_cohort`` does it for one worker, but all at once.
    """
    most = most_of(len(runs), workers, largest)
    return [part for _, group in groups_of(runs, waited_for, most) for part in cut(group, most)]


class Array(NamedTuple):
    """Jobs that are queued as one."""

    cohorts: list[list[Run]]
    parallel: int
    """How many of them run at once, at most."""


def arrays(runs: Sequence[Run], workers: int, largest: int, limit: int | None) -> list[list[Array]]:
    """Part runs into waves, and those into arrays of at most ``limit`` jobs; None: no queue's."""
    found, waited_for = [], needs_of(runs)
    for wave in waves(runs, workers, largest, queued=limit is not None):
        made = cohorts(wave, waited_for, workers, largest)
        size = limit or len(made)
        parts = [made[i : i + size] for i in range(0, len(made), size)]
        found.append([Array(part, max(1, workers // len(parts))) for part in parts])
    return found
