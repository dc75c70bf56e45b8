"""Group runs into jobs: which can train together as a cohort, and which must wait for others.

A run waits for the runs that it needs: a student for its teacher, a probe for its student. A
*wave* is a set of runs that do not wait for each other. A *baseline* is a student trained without
a teacher.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from benchmark.config.runs import Run, TrainRun, needed_ids


def baseline_partners(runs: Iterable[Run], waited_for: Set[str]) -> dict[str, TrainRun]:
    """Return, by baseline id, a distilled run of the same student and stream to train it with.

    The partner's cohort loads the same batches anyway, so the baseline costs little there. A
    baseline that other runs wait for (``waited_for``) gets no partner.
    """
    trained = [r for r in runs if isinstance(r, TrainRun) and r.id not in waited_for]
    distilled: dict[tuple[str, str], TrainRun] = {}
    for run in trained:
        if run.teacher is not None:
            distilled.setdefault((run.stream_key, run.student), run)
    baselines = (run for run in trained if run.teacher is None)
    pairs = ((run.id, distilled.get((run.stream_key, run.student))) for run in baselines)
    return {run_id: partner for run_id, partner in pairs if partner is not None}


def cohort_groups(
    runs: Sequence[Run], waited_for: Set[str], limit: int
) -> list[tuple[bool, list[Run]]]:
    """Group runs that can train together; return each group and whether others wait for it.

    Runs that others wait for form groups of their own, so that nothing slows them down. Baselines
    come last in their partners' group, and only fill up its last cohort of ``limit`` runs: another
    cohort would mean another pass through the teacher.
    """
    partners = baseline_partners(runs, waited_for)
    groups: dict[tuple[bool, str], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.id in partners):
        key = run.id in waited_for, run.cohort_key
        if run.id in partners and len(groups[False, partners[run.id].cohort_key]) % limit:
            key = False, partners[run.id].cohort_key
        groups[key].append(run)
    return [(waited, group) for (waited, _), group in groups.items()]


def next_cohort(
    ready: Sequence[Run], waited_for: Set[str], workers: int, largest: int
) -> list[Run]:
    """Choose the runs that a free worker starts next: same stream, at most one teacher.

    Runs that others wait for go first. A cohort takes its whole group, for one pass through the
    teacher, unless other workers would be idle then. Which runs share a cohort changes no result.
    """
    limit = max_cohort_size(len(ready), workers, largest)
    groups = cohort_groups(ready, waited_for, limit)
    _, group = max(groups, key=lambda item: (item[0], len(item[1])))
    # The last part holds the baselines: were it left for later, they could lose their partners.
    return split_evenly(group, limit)[-1]


def max_cohort_size(count: int, workers: int, largest: int) -> int:
    """Return the largest cohort size at which ``count`` runs still give every worker a job."""
    return min(-(-count // workers), largest)


def split_evenly(group: Sequence[Run], limit: int) -> list[list[Run]]:
    """Split a group into the fewest parts of at most ``limit`` runs, of nearly equal size."""
    parts = -(-len(group) // limit)
    bounds = [len(group) * i // parts for i in range(parts + 1)]
    return [list(group[a:b]) for a, b in itertools.pairwise(bounds)]


def split_into_waves(
    runs: Sequence[Run], workers: int, largest: int, queued: bool
) -> list[list[Run]]:
    """Split runs into waves by what they need of each other: teachers, students, probes.

    A baseline joins its partner's wave if a cohort there has space left. Without a queue
    (``queued`` is False) it joins only if the first wave has work for every worker without it.
    """
    by_id, waited_for = {run.id: run for run in runs}, needed_ids(runs)

    def depth(run: Run) -> int:
        return max((1 + depth(by_id[n.id]) for n in run.needs if n.id in by_id), default=0)

    partners = baseline_partners(sorted(runs, key=depth), waited_for)
    waves: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        if run.id not in partners:
            waves[depth(run)].append(run)
    possible_sizes = Counter(depth(partners.get(run.id, run)) for run in runs)
    limits = {
        number: max_cohort_size(count, workers, largest) for number, count in possible_sizes.items()
    }
    sizes = Counter(run.cohort_key for run in runs if run.id not in partners.keys() | waited_for)
    may_join = queued or len(waves[0]) >= workers
    for run_id, partner in partners.items():
        joins = may_join and sizes[partner.cohort_key] % limits[depth(partner)] > 0
        sizes[partner.cohort_key] += joins
        waves[depth(partner) if joins else 0].append(by_id[run_id])
    return [waves[number] for number in sorted(waves) if waves[number]]


def split_into_cohorts(
    runs: Sequence[Run], waited_for: Set[str], workers: int, largest: int
) -> list[list[Run]]:
    """Split runs that can all start now into the fewest cohorts that keep all workers busy.

    Gives the same cohorts as calling ``next_cohort`` for one worker until no run is left.
    """
    limit = max_cohort_size(len(runs), workers, largest)
    groups = cohort_groups(runs, waited_for, limit)
    return [part for _, group in groups for part in split_evenly(group, limit)]


class JobArray(NamedTuple):
    """Jobs that are submitted to the queue as one array; each cohort is a job."""

    cohorts: list[list[Run]]
    parallel: int
    """The largest number of its jobs that run at once."""


def plan_arrays(
    runs: Sequence[Run], workers: int, largest: int, limit: int | None
) -> list[list[JobArray]]:
    """Split runs into waves, and each wave into arrays of at most ``limit`` jobs.

    ``limit`` is None if there is no queue: then each wave is one array.
    """
    plan, waited_for = [], needed_ids(runs)
    for wave in split_into_waves(runs, workers, largest, queued=limit is not None):
        cohorts = split_into_cohorts(wave, waited_for, workers, largest)
        size = limit or len(cohorts)
        parts = [cohorts[i : i + size] for i in range(0, len(cohorts), size)]
        plan.append([JobArray(part, max(1, workers // len(parts))) for part in parts])
    return plan
