"""Runs start when what they need is done, in cohorts that keep every worker busy."""

from pathlib import Path

import pytest

from benchmark.plan import next_cohort, statuses
from benchmark.runs import TrainRun
from benchmark.store import Store, claim
from tests.test_runs import KD, RUN, SCRATCH, TEACHER


def student(method: str, seed: int) -> TrainRun:
    if method == "scratch":
        return RUN.model_copy(update={"method": SCRATCH, "teacher": None, "seed": seed})
    return RUN.model_copy(update={"method": KD.model_copy(update={"name": method}), "seed": seed})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for run in (TEACHER, RUN):
        store.run(run.id).write_config(run.as_json())
    return store


def by_id(*runs: TrainRun) -> dict[str, TrainRun]:
    return {run.id: run for run in runs}


def test_a_student_is_blocked_until_its_teacher_is_done(store):
    runs = by_id(TEACHER, RUN)
    assert statuses(runs, store) == {TEACHER.id: "ready", RUN.id: "blocked"}
    store.run(TEACHER.id).write_record({"schema": 1})
    assert statuses(runs, store) == {TEACHER.id: "done", RUN.id: "ready"}


def test_a_teacher_outside_the_selection_counts_too(store):
    assert statuses(by_id(RUN), store) == {RUN.id: "blocked"}


def test_a_claimed_run_is_running_and_a_failed_one_is_failed_not_done(store):
    held = claim(store.run(TEACHER.id).path)
    assert held is not None
    assert statuses(by_id(TEACHER), store) == {TEACHER.id: "running"}
    held.release()
    store.run(TEACHER.id).write_failure("died", "no more")
    assert statuses(by_id(TEACHER, RUN), store) == {TEACHER.id: "failed", RUN.id: "blocked"}


def test_a_cohort_shares_stream_and_teacher():
    ready = [student(method, seed) for seed in (0, 1) for method in ("scratch", "kd", "at", "ab")]
    cohort = next_cohort(ready, set(), workers=1, largest=8)
    assert len(cohort) == 3
    assert {run.seed for run in cohort} == {0}
    assert all(run.needs == (TEACHER,) for run in cohort)


def test_what_others_wait_for_starts_first():
    ready = [student("scratch", seed) for seed in range(3)] + [TEACHER]
    assert next_cohort(ready, {TEACHER.id}, workers=1, largest=8) == [TEACHER]


def test_a_group_is_split_rather_than_leave_workers_idle():
    ready = [student(method, 0) for method in ("kd", "at", "ab", "fsp", "fitnets")]
    assert len(next_cohort(ready, set(), workers=2, largest=8)) == 3
    assert len(next_cohort(ready[3:], set(), workers=2, largest=8)) == 1
    assert len(next_cohort(ready, set(), workers=1, largest=4)) == 4
