"""Runs start when the runs that they need are done, in cohorts that keep every worker busy."""

import json
from pathlib import Path

import pytest

from benchmark.config.runs import needed_ids, parse_run
from benchmark.launch.schedule import next_cohort, plan_arrays
from benchmark.launch.status import folder_statuses, plan_lines
from benchmark.store.claim import claim_run
from benchmark.store.folder import Store
from benchmark.suite.manifest import runs_from_manifest
from tests.config.example_runs import RUN, TEACHER, by_id, student
from tests.job.in_process import grid


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for run in (TEACHER, RUN):
        store.run(run.id).write_config(run.as_json())
    return store


def test_a_student_is_blocked_until_its_teacher_is_done(store):
    runs = by_id(TEACHER, RUN)
    assert folder_statuses(runs, store) == {TEACHER.id: "ready", RUN.id: "blocked"}
    store.run(TEACHER.id).write_record({"schema": 1})
    assert folder_statuses(runs, store) == {TEACHER.id: "done", RUN.id: "ready"}


def test_a_teacher_outside_the_selection_counts_too(store):
    assert folder_statuses(by_id(RUN), store) == {RUN.id: "blocked"}


def test_a_claimed_run_is_running_and_a_failed_one_is_failed_not_done(store):
    held = claim_run(store.run(TEACHER.id).path)
    assert held is not None
    assert folder_statuses(by_id(TEACHER), store) == {TEACHER.id: "running"}
    held.release()
    store.run(TEACHER.id).write_failure("died", "no more")
    assert folder_statuses(by_id(TEACHER, RUN), store) == {TEACHER.id: "failed", RUN.id: "blocked"}


METHODS = "scratch", "kd", "at", "ab"


def test_a_cohort_is_the_distilled_runs_of_one_stream_and_teacher_with_their_baseline():
    ready = [student(method, seed) for seed in (0, 1) for method in METHODS]
    baseline, *taught = ready[:4]
    assert [run.needs for run in taught] == [(TEACHER,)] * 3
    assert next_cohort(ready, set(), workers=1, largest=8) == [*taught, baseline]


def test_a_baseline_joins_only_distilled_runs_of_its_own_network():
    other = student("scratch", 0).model_copy(update={"student": "resnet14"})
    ready = [other, student("scratch", 1), student("kd", 0), student("at", 0)]
    assert next_cohort(ready, set(), workers=1, largest=8) == ready[2:]


def test_a_baseline_never_makes_another_cohort():
    ready = [student(method, 0) for method in METHODS]
    first = next_cohort(ready, set(), workers=1, largest=3)
    assert first == ready[1:]  # with its one teacher pass
    assert next_cohort(ready[:1], set(), workers=1, largest=3) == ready[:1]


def test_a_baseline_that_others_wait_for_joins_no_cohort():
    ready = [student(method, 0) for method in METHODS]
    assert next_cohort(ready, {ready[0].id}, workers=1, largest=8) == ready[:1]


def test_a_baseline_does_not_wait_for_distilled_runs_while_a_worker_is_free():
    ready = [student("scratch", 0), student("scratch", 1)]  # the teacher trains meanwhile
    assert next_cohort(ready, {TEACHER.id}, workers=2, largest=8) == ready[:1]


def test_one_worker_does_the_planned_cohorts(tmp_path, store):
    pairs = "[resnet14 -> resnet8, resnet14 -> resnet8x4, resnet20 -> resnet8]"
    text = SUITE.replace("[resnet14 -> resnet8]", pairs).replace("kd: ,", "kd: , at: , ab: ,")
    runs = grid(tmp_path, text.partition("probes")[0]).runs()
    planned = [
        cohort
        for wave in plan_arrays([*runs.values()], 1, 5, None)
        for array in wave
        for cohort in array.cohorts
    ]
    done = []
    waited_for = needed_ids(runs.values())
    while ready := [
        run
        for run, now in zip(runs.values(), folder_statuses(runs, store).values(), strict=True)
        if now == "ready"
    ]:
        done.append(next_cohort(ready, waited_for, workers=1, largest=5))
        for run in done[-1]:
            store.run(run.id).write_config(run.as_json())
            store.run(run.id).write_record({"schema": 1})

    members, wanted = (
        {frozenset(run.id for run in job) for job in jobs} for jobs in (done, planned)
    )
    assert members == wanted
    assert max(map(len, done)) == 4  # eight runs of one group, split evenly


def test_a_run_that_others_wait_for_starts_first():
    ready = [student("scratch", seed) for seed in range(3)] + [TEACHER]
    assert next_cohort(ready, {TEACHER.id}, workers=1, largest=8) == [TEACHER]


def test_a_group_is_split_rather_than_leave_workers_idle():
    ready = [student(method, 0) for method in ("kd", "at", "ab", "fsp", "fitnets")]
    assert len(next_cohort(ready, set(), workers=2, largest=8)) == 3
    assert len(next_cohort(ready[3:], set(), workers=2, largest=8)) == 1
    assert len(next_cohort(ready, set(), workers=1, largest=4)) == 3  # and two: evenly


SUITE = """
title: a test
dataset: digits
pairs: [resnet14 -> resnet8]
methods: {scratch: , kd: , untaught: {method: kd, teacher: random}}
seeds: [0, 1]
recipe: {epochs: 3, batch_size: 32, lr: 0.05}
probes: {stl10: {protocol: hsakd}}
"""


def test_a_manifest_gives_back_the_runs_that_were_planned_to_the_last_digit(tmp_path):
    made = grid(tmp_path, SUITE)
    manifest = json.loads(json.dumps(made.manifest("code")))
    back = runs_from_manifest(manifest, manifest["runs"])
    assert back == made.runs()
    for run_id, run in back.items():
        assert parse_run(run.as_json()).id == run_id == run.id


def test_a_run_comes_after_what_it_needs_which_is_one_object_for_all(tmp_path):
    manifest = grid(tmp_path, SUITE).manifest("code")
    back = runs_from_manifest(manifest, reversed(manifest["runs"]))
    order = list(back)
    needs = [(run, need) for run in back.values() for need in run.needs]
    assert all(order.index(need.id) < order.index(run.id) for run, need in needs)
    assert all(back[need.id] is need for _, need in needs)


def test_ten_thousand_students_do_not_repeat_their_teacher(tmp_path):
    manifest = grid(tmp_path, SUITE).manifest("code")
    [teacher] = {column["teacher_run"] for column in manifest["columns"][:1]}
    assert {data["teacher"] for data in manifest["runs"].values() if "teacher" in data} >= {teacher}


def test_the_plan_lists_runs_to_do_and_cells_that_do_not_apply(tmp_path):
    text = SUITE.replace("resnet14 ->", "resnet8x4 ->").replace("kd: ,", "fsp: ,")
    made = grid(tmp_path, text)
    runs = made.runs()
    lines = list(plan_lines(made.manifest("code"), folder_statuses(runs, Store(tmp_path))))
    assert lines[0] == f"suite: a test, {len(runs)} runs"
    assert {f"  {run_id}" for run_id in runs} <= set(lines)
    assert any(line.startswith("  fsp, resnet8x4 -> resnet8: widths differ") for line in lines)
