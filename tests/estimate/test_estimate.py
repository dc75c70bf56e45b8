"""What a run on a machine comes to is foretold from records, from timed steps, or not at all."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config.recipe import DatasetConfig
from benchmark.config.runs import TrainRun
from benchmark.data import find
from benchmark.estimate import paces as estimate
from benchmark.estimate import timing
from benchmark.estimate.forecast import (
    COPIES,
    Course,
    course_of,
    duration,
    forecast,
    room_of,
    seconds_of,
)
from benchmark.estimate.kinds import (
    Device,
    Pace,
    Subject,
    Weight,
    amount,
    from_records,
    images_of,
    sort_of,
)
from benchmark.estimate.paces import by_likeness, in_turns
from benchmark.estimate.timing import built, examined, weigh
from benchmark.job.recording import serialise
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import Array, arrays
from benchmark.models import fingerprint
from benchmark.store.environment import processor
from benchmark.store.folder import Store
from benchmark.suite.dry_run import Scene, networks_output
from benchmark.suite.rows import plain
from benchmark.training import cuda_graphs
from benchmark.training.cuda_graphs import Graphed
from benchmark.training.learner import Learner
from tests.config.example_runs import RUN, TEACHER, by_id, student
from tests.training.tape import Plain

CPU = Device("cpu", here=True)
LOCAL = Machine(launcher="local", device="cpu", workers=2)


def recorded(store: Store, run: TrainRun, seconds: float, **environment: Any) -> None:
    """Leave the part of a record that speaks of time."""
    store.run(run.id).path.mkdir(parents=True)
    where = {"device": "cpu", "cpu": "a processor", **environment}
    record = {"schema": 1, "config": run.as_json(), "cost": {"seconds": seconds}}
    store.run(run.id).write_record({**record, "environment": where})


def another(run: TrainRun, **changes: Any) -> TrainRun:
    return run.model_copy(update={"recipe": run.recipe.model_copy(update=changes)})


# ---------------------------------------------------------------- how fast


def test_a_runs_time_is_that_of_records_scaled_by_epochs_and_images(tmp_path):
    store = Store(tmp_path)
    recorded(store, RUN, 60.0)
    long = another(RUN, epochs=3 * RUN.recipe.epochs)
    paces = from_records([long], store, CPU)
    assert seconds_of([long], paces) == pytest.approx(180.0)
    whole = images_of(RUN.dataset)
    assert whole is not None
    few = RUN.dataset.model_copy(update={"limit": whole[0] // 3})
    assert seconds_of([RUN.model_copy(update={"dataset": few})], paces) == pytest.approx(20, abs=1)


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        ({"device": "cuda:0"}, CPU),
        ({"cpu": "another processor"}, CPU._replace(cpu="a processor")),
        ({"processes": 2}, CPU),
        ({}, Device("cuda", here=True)),
    ],
)
def test_records_of_other_machines_say_nothing(
    tmp_path: Path, environment: dict[str, Any], device: Device
):
    recorded(Store(tmp_path), RUN, 60.0, **environment)
    assert not from_records([RUN], Store(tmp_path), device)


def test_records_of_another_student_teacher_method_or_batch_say_nothing(tmp_path):
    recorded(Store(tmp_path), RUN, 60.0)
    others = [
        RUN.model_copy(update={"student": "resnet14"}),
        student("at", 0),
        TEACHER,
        another(RUN, batch_size=2 * RUN.recipe.batch_size),
    ]
    paces = from_records([RUN, *others], Store(tmp_path), CPU)
    assert sort_of(student(RUN.method.name, 7)) in paces
    assert not {sort_of(run) for run in others} & paces.keys()


def test_what_could_not_be_timed_goes_like_others_of_its_student_and_probes_like_nothing():
    known = {sort_of(RUN): Pace(2.0, 1.0, "records")}
    like = by_likeness([sort_of(student("at", 0)), sort_of(TEACHER)], known)
    assert like == {sort_of(student("at", 0)): Pace(2.0, 1.0, "likeness")}


def test_every_pair_is_timed_once_before_any_is_timed_twice():
    pairs = [sort_of(RUN)._replace(student=name) for name in ("resnet8", "resnet14")]
    sorts = [pair._replace(method=method) for pair in pairs for method in ("kd", "at")]
    assert [(s.student, s.method) for s in in_turns(sorts)] == [
        ("resnet8", "kd"),
        ("resnet14", "kd"),
        ("resnet8", "at"),
        ("resnet14", "at"),
    ]


def test_how_many_images_a_run_sees_follows_from_its_data_set():
    digits = DatasetConfig(name="digits", version=1, limit=None, padding=0, flip=False)
    assert images_of(digits) == (599, 1198)
    assert images_of(digits.model_copy(update={"limit": 100})) == (100, 100)
    assert images_of(digits.model_copy(update={"validation": 99})) == (500, 99)
    folder = digits.model_copy(update={"name": "imagefolder/mine@32"})
    assert images_of(folder) is None
    assert amount(RUN.model_copy(update={"dataset": folder})) == RUN.recipe.epochs


def test_the_number_of_images_is_what_is_loaded():
    train, test = find("digits", Path()).load(Path())
    assert images_of(RUN.dataset) == (len(train.labels), len(test.labels))


# ---------------------------------------------------------------- when


def plan_of(runs: list[TrainRun], workers: int, limit: int | None = None) -> list[list[Array]]:
    return arrays(runs, workers, 1, limit)


def test_students_wait_for_their_teacher_and_workers_for_each_other():
    students = [student(method, 0) for method in ("kd", "at", "ab")]
    cost = {TEACHER.id: 10.0, **{run.id: 4.0 for run in students}}
    course = course_of(plan_of([TEACHER, *students], 2), 2, lambda cohort: cost[cohort[0].id])
    assert course == Course(busy=22.0, wall=10.0 + 4.0 + 4.0)


def test_a_worker_need_not_wait_for_another_teacher_here_but_a_cluster_waits_for_the_array():
    other = TEACHER.model_copy(update={"student": "resnet110"})
    pupil = student("kd", 0)
    cost = {TEACHER.id: 1.0, other.id: 9.0, pupil.id: 4.0}
    plan = plan_of([TEACHER, other, pupil], 2)
    assert course_of(plan, 2, lambda cohort: cost[cohort[0].id]).wall == 9.0
    assert course_of(plan, None, lambda cohort: cost[cohort[0].id]).wall == 13.0


def test_arrays_are_cut_where_the_cluster_cuts_them_and_share_the_workers():
    runs = [student("kd", seed) for seed in range(10)]
    [wave] = plan_of(runs, 8, limit=4)
    assert [(len(array.cohorts), array.parallel) for array in wave] == [(4, 2), (4, 2), (2, 2)]


def test_a_cohort_passes_its_batches_through_the_teacher_once():
    runs = [student(method, 0) for method in ("kd", "at")]
    paces = {sort_of(run): Pace(2.0, 1.0, "calibration") for run in runs}
    assert seconds_of(runs, paces) == amount(RUN) * (2.0 + 2.0 + 1.0)


# ---------------------------------------------------------------- room


def test_room_is_for_what_stays_and_for_the_checkpoints_of_jobs_that_run_at_once():
    runs = [student("kd", seed) for seed in range(3)]
    weights = {sort_of(RUN): Weight(left=10**6, checkpoint=4 * 10**6)}
    room = room_of(plan_of(runs, 2), weights, workers=2)
    assert room.left == pytest.approx(3e6, rel=0.1)
    assert room.peak - room.left == 2 * COPIES * 4 * 10**6


def test_a_runs_weight_is_foretold_as_it_comes_to_be(finished):
    for path in (finished / "results" / "runs").glob("*/record.json"):
        run = TrainRun.parse(json.loads(path.read_text())["config"])
        found = examined(Subject(run, (64, 64), timed=False), finished, None)
        assert found.weight is not None
        left = (path.parent / "student.pt").stat().st_size
        assert found.weight.left == pytest.approx(left, rel=0.05)


def test_a_checkpoint_is_weighed_as_it_is_written():
    network = copy.deepcopy(networks_output("resnet8", 10, 16)[0])
    run = RUN.model_copy(update={"method": plain("fitnets")})
    scene, labels = Scene("resnet8", "resnet8", 10, 16), torch.arange(4)
    learner = Learner(run.id, network, built(run, scene, network, labels), run.recipe)
    images = torch.randn(4, 3, 16, 16)
    for phase in learner.phases:
        learner.begin_epoch(1, torch.device("cpu"))
        learner.step(images, network(images), labels, labels, 0)
        learner.epoch += phase.epochs
    written = len(serialise(learner.state()))
    assert weigh(learner).checkpoint == pytest.approx(written, rel=0.05)


def test_timing_a_run_leaves_the_networks_of_others_as_they_were():
    before = fingerprint(networks_output("resnet8", 10, 8)[0])
    few = RUN.dataset.model_copy(update={"limit": 64, "size": 8})
    run = another(RUN.model_copy(update={"dataset": few}), epochs=1)
    found = examined(Subject(run, (64, 64), timed=True), Path(), torch.device("cpu"))
    assert found.pace is not None
    assert found.pace.own > 0
    assert found.pace.shared > 0
    assert fingerprint(networks_output("resnet8", 10, 8)[0]) == before


def test_where_steps_are_captured_a_run_is_timed_in_cohorts_and_at_its_evaluation(monkeypatch):
    turns: list[tuple[int, str]] = []

    def loop_for(stream, say):
        graphed = Graphed(stream, Plain(), say, warm_up=1)

        def loop(turn, *rest):
            turns.append((len(turn), turn[0].phase.name))
            graphed(turn, *rest)

        return loop

    def seconds_of(work, device):
        turns.clear()
        work()
        # By the clock of this test a step takes 3 s and 2 for each learner, an evaluation 10 s.
        return 3.0 + 2.0 * turns[0][0] if turns else 10.0

    monkeypatch.setattr(cuda_graphs, "loop_for", loop_for)
    monkeypatch.setattr(timing, "seconds_of", seconds_of)
    run = RUN.model_copy(
        update={
            "method": plain("fsp"),
            "dataset": RUN.dataset.model_copy(update={"size": 8}),
            "recipe": RUN.recipe.model_copy(update={"epochs": 9, "batch_size": 4}),
        }
    )
    found = examined(Subject(run, (4, 2), timed=True), Path(), torch.device("cpu")).pace
    assert found is not None
    # 9 epochs and the initialising one on top, of 4 images, with 2 to test on.
    assert found.own * 9 * 4 == pytest.approx(10 * (2.0 + 10.0 / 2))
    assert found.shared * 9 * 4 == pytest.approx(10 * 3.0)


# ---------------------------------------------------------------- in words


def told(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, calibrating: bool = True
) -> str:
    """Say it all without a process for the calibration."""
    monkeypatch.setattr(estimate, "in_a_child", lambda function, *given: function(*given))
    paths, at = Paths(tmp_path, tmp_path), RUN.model_copy(update={"method": plain("at"), "seed": 0})
    return "\n".join(forecast(by_id(TEACHER, RUN, at), machine, paths, calibrating))


def test_each_figure_says_where_it_comes_from(tmp_path, monkeypatch):
    recorded(Store(tmp_path), RUN.model_copy(update={"seed": 99}), 3600.0, cpu=processor())
    monkeypatch.setattr(estimate, "SECONDS", 0.0)
    text = told(tmp_path, LOCAL, monkeypatch)
    assert "wave 1: 1 run, 1 job\n" in text
    assert "wave 2: 2 runs, 2 jobs\n" in text
    assert "time: at least 2 CPU-core-hours, at least 60 minutes in all" in text
    assert "1 run from records" in text
    assert "1 run as others of the same student" in text
    assert "1 run unknown and not counted: no record, and not timed" in text
    assert "3 runs from the networks' and methods' own sizes" in text


def test_a_device_that_is_not_here_is_unknown_not_invented(tmp_path, monkeypatch):
    cluster = Machine(launcher="slurm", device="cuda", workers=4)
    text = told(tmp_path, cluster, monkeypatch)
    assert "time: unknown: no record and no such device here" in text
    assert "hours" not in text
    assert "scontrol does not tell MaxArraySize here" in text


def test_without_calibration_nothing_is_timed(tmp_path, monkeypatch):
    text = told(tmp_path, LOCAL, monkeypatch, calibrating=False)
    assert "time: unknown: no record (--no-calibration)" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (90, "90 s"), (600, "10 minutes"), (3e5, "3.47 days")]
)
def test_durations_are_written_as_one_reads_them(seconds: float, words: str):
    assert duration(seconds) == words
