"""Estimates of time and disk space come from records, from timed steps, or are unknown."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config.recipe import DatasetConfig
from benchmark.config.runs import TrainRun
from benchmark.data import SOURCES, find_data_set
from benchmark.data.counts import IMAGE_COUNTS, about_image_counts, image_counts
from benchmark.estimate import estimates, timing
from benchmark.estimate.estimates import interleave_pairs, times_from_similar_runs
from benchmark.estimate.forecast import (
    CHECKPOINT_COPIES,
    Timeline,
    cohort_seconds,
    disk_need,
    forecast,
    round_duration,
    simulate_jobs,
    time_lines,
)
from benchmark.estimate.kinds import (
    Device,
    DiskUse,
    Sample,
    SecondsPerImage,
    images_seen,
    kind_of,
    times_from_records,
    work_seconds,
)
from benchmark.estimate.timing import build_for_timing, disk_use, measure_sample
from benchmark.job.recording import serialise
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import JobArray, plan_arrays
from benchmark.models import fingerprint
from benchmark.store.environment import processor_name
from benchmark.store.folder import Store
from benchmark.suite.dry_run import NetworkPair, network_and_features
from benchmark.suite.rows import default_method_config
from benchmark.training import cuda_graphs
from benchmark.training.cuda_graphs import GraphedLoop
from benchmark.training.learner import Learner
from tests.config.example_runs import RUN, TEACHER, by_id, student
from tests.data.official_layouts import picture
from tests.training.tape import Plain

CPU = Device("cpu", here=True)
LOCAL = Machine(launcher="local", device="cpu", workers=2)


def recorded(
    store: Store, run: TrainRun, seconds: float, environment: Any = (), **cost: float
) -> None:
    """Write a record with the fields that times are read from."""
    store.run(run.id).path.mkdir(parents=True, exist_ok=True)
    where = {"device": "cpu", "cpu": "a processor", **dict(environment)}
    last = run.recipe.epochs
    record = {
        "schema": 1,
        "id": run.id,
        "config": run.as_json(),
        "result": {"top1": 50.0, "epoch": last},
        "history": [{"epoch": i + 1, "phase": "task", "top1": 50.0} for i in range(last)],
        "cost": {"seconds": seconds, "parameters": 1, **cost},
        "environment": where,
    }
    store.run(run.id).write_record(record)


def another(run: TrainRun, **changes: Any) -> TrainRun:
    return run.model_copy(update={"recipe": run.recipe.model_copy(update=changes)})


# ---------------------------------------------------------------- time of a run


def test_the_size_of_every_data_set_is_known_without_its_files():
    assert {name.partition("@")[0] for name in IMAGE_COUNTS} == SOURCES.keys()


def test_a_runs_time_is_that_of_records_scaled_by_epochs_and_images(tmp_path):
    store = Store(tmp_path)
    recorded(store, RUN, 60.0)
    long = another(RUN, epochs=3 * RUN.recipe.epochs)
    times = times_from_records([long], store, CPU)
    assert cohort_seconds([long], times) == pytest.approx(180.0)
    whole = image_counts(RUN.dataset)
    assert whole is not None
    few = RUN.dataset.model_copy(update={"limit": whole[0] // 3})
    assert cohort_seconds([RUN.model_copy(update={"dataset": few})], times) == pytest.approx(
        20, abs=1
    )


def test_a_run_of_a_busy_machine_counts_as_long_as_its_steps_took(tmp_path):
    """Records had only wall time once: eleven times the processor's time on one machine."""
    store, steps = Store(tmp_path), math.ceil(599 / RUN.recipe.batch_size)
    cost = {"seconds": 900.0, "step_seconds": 0.01, "teacher_seconds": 0.005}
    recorded(store, RUN, **cost)
    expected = steps * RUN.recipe.epochs * 0.015
    assert work_seconds(store.run(RUN.id).read_record()) == pytest.approx(expected)
    times = times_from_records([RUN], store, CPU)
    assert cohort_seconds([RUN], times) == pytest.approx(expected)
    cases: list[tuple[dict[str, Any], dict[str, float]]] = [
        ({"device": "cuda:0"}, cost),  # a GPU does not wait for other processes of the machine
        ({}, {**cost, "wall_seconds": 2000.0}),
        ({}, {**cost, "step_seconds": 1e3}),
        ({}, {"seconds": 900.0}),
    ]
    for i, (environment, changed) in enumerate(cases):
        recorded(other := Store(tmp_path / str(i)), RUN, environment=environment, **changed)
        assert work_seconds(other.run(RUN.id).read_record()) == 900


def test_on_a_cpu_waiting_does_not_end_the_timing_of_steps(monkeypatch):
    """The clock runs ahead of the processor, as on a busy machine; at four times it is enough."""
    clock = itertools.count(step=15)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    timed: list[bool] = []
    monkeypatch.setattr(timing, "measure_sample", lambda *args: timed.append(args[-1] is not None))
    samples = [Sample(RUN, (599, 1198), timed=True)] * 30
    timing.measure_samples(samples, Path(), [], "cpu", 60.0)
    assert timed == [True] * 15 + [False] * 15


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        ({"device": "cuda:0"}, CPU),
        ({"cpu": "another processor"}, CPU._replace(cpu="a processor")),
        ({"processes": 2}, CPU),
        ({}, Device("cuda", here=True)),
    ],
)
def test_records_of_other_machines_are_not_used(
    tmp_path: Path, environment: dict[str, Any], device: Device
):
    recorded(Store(tmp_path), RUN, 60.0, environment)
    assert not times_from_records([RUN], Store(tmp_path), device)


def test_records_of_another_student_teacher_method_or_batch_are_not_used(tmp_path):
    recorded(Store(tmp_path), RUN, 60.0)
    others = [
        RUN.model_copy(update={"student": "resnet14"}),
        student("at", 0),
        TEACHER,
        another(RUN, batch_size=2 * RUN.recipe.batch_size),
    ]
    times = times_from_records([RUN, *others], Store(tmp_path), CPU)
    assert kind_of(student(RUN.method.name, 7)) in times
    assert not {kind_of(run) for run in others} & times.keys()


def test_an_untimed_run_takes_the_time_of_its_students_other_methods_but_a_probe_does_not():
    known = {kind_of(RUN): SecondsPerImage(2.0, 1.0, "records")}
    like = times_from_similar_runs([kind_of(student("at", 0)), kind_of(TEACHER)], known)
    assert like == {kind_of(student("at", 0)): SecondsPerImage(2.0, 1.0, "similar")}


def test_every_pair_is_timed_once_before_any_is_timed_twice():
    pairs = [kind_of(RUN)._replace(student=name) for name in ("resnet8", "resnet14")]
    sorts = [pair._replace(method=method) for pair in pairs for method in ("kd", "at")]
    assert [(s.student, s.method) for s in interleave_pairs(sorts)] == [
        ("resnet8", "kd"),
        ("resnet14", "kd"),
        ("resnet8", "at"),
        ("resnet14", "at"),
    ]


def test_how_many_images_a_run_sees_follows_from_its_data_set():
    digits = DatasetConfig(name="digits", version=1, limit=None, padding=0, flip=False)
    assert image_counts(digits) == (599, 1198)
    assert image_counts(digits.model_copy(update={"limit": 100})) == (100, 100)
    assert image_counts(digits.model_copy(update={"validation": 99})) == (500, 99)
    folder = digits.model_copy(update={"name": "imagefolder/mine@32"})
    assert image_counts(folder) is None
    assert images_seen(RUN.model_copy(update={"dataset": folder})) == RUN.recipe.epochs


def with_images_of(run: TrainRun, root: Path, name: str, **fields: Any) -> TrainRun:
    """The run on the images of a folder."""
    source = find_data_set(name, root)
    dataset = DatasetConfig(
        name=name, version=source.version, limit=None, padding=4, flip=True
    ).model_copy(update=fields)
    return run.model_copy(update={"dataset": dataset})


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A data root with 10 train and 4 test images in a folder."""
    for part, count in (("train", 5), ("test", 2)):
        for number, name in enumerate(("crow", "owl")):
            for k in range(count):
                picture(tmp_path / "birds" / part / name / f"{k}.png", 10 * number + k)
    return tmp_path


def test_the_images_of_a_folder_are_counted(birds):
    run = with_images_of(RUN, birds, "imagefolder/birds@32")
    assert image_counts(run.dataset, birds) == (10, 4)
    assert image_counts(run.dataset.model_copy(update={"validation": 3}), birds) == (7, 3)
    assert image_counts(run.dataset.model_copy(update={"limit": 3}), birds) == (3, 3)
    assert images_seen(run, birds) == 10 * run.recipe.epochs


def test_of_a_list_of_classes_the_images_are_imagenets_share(tmp_path):
    (tmp_path / "two.txt").write_text("n01440764\nn02119789\n")
    few = DatasetConfig(name="imagenet@two", version=1, limit=None, padding=0, flip=True)
    assert about_image_counts(few, tmp_path) == (2562, 100)
    assert image_counts(few, tmp_path) is None


def test_records_of_an_image_folder_predict_runs_of_other_length(birds):
    run, store = with_images_of(RUN, birds, "imagefolder/birds@32"), Store(birds / "results")
    recorded(store, run, 90.0)
    times = times_from_records([run], store, CPU, birds)
    assert times[kind_of(run)].own == pytest.approx(90 / (10 * run.recipe.epochs))
    half = with_images_of(run, birds, "imagefolder/birds@32", limit=5)
    assert cohort_seconds([half], times, birds) == pytest.approx(45.0)


EXTERNAL = ["torchvision/resnet18", "timm/resnet18"]


@pytest.mark.parametrize("network", EXTERNAL[: 1 if find_spec("timm") is None else 2])
def test_runs_of_other_libraries_networks_on_an_image_folder_are_estimated(
    birds, network, monkeypatch
):
    monkeypatch.setattr(
        estimates, "run_in_child_process", lambda function, *given: function(*given)
    )
    run = with_images_of(TEACHER, birds, "imagefolder/birds@32")
    run = another(run.model_copy(update={"student": network}), batch_size=4)
    paths = Paths(birds / "results", birds)
    text = "\n".join(forecast(by_id(run), LOCAL, paths, timing=True))
    assert "1 run from steps timed here" in text
    assert "unknown" not in text
    [peak, left] = map(float, re.findall(r"([\d.]+) MB", text)[:2])
    weights = 4 * 11.18  # MB: 11.18 million parameters
    assert left == pytest.approx(weights, rel=0.01)
    assert peak == pytest.approx(weights * (1 + 2 * CHECKPOINT_COPIES), rel=0.01)


def test_the_number_of_images_is_what_is_loaded():
    train, test = find_data_set("digits", Path()).load(Path())
    assert image_counts(RUN.dataset) == (len(train.labels), len(test.labels))


# ---------------------------------------------------------------- time of a plan


def plan_of(runs: list[TrainRun], workers: int, limit: int | None = None) -> list[list[JobArray]]:
    return plan_arrays(runs, workers, 1, limit)


def test_students_wait_for_their_teacher_and_workers_for_each_other():
    students = [student(method, 0) for method in ("kd", "at", "ab")]
    cost = {TEACHER.id: 10.0, **{run.id: 4.0 for run in students}}
    timeline = simulate_jobs(plan_of([TEACHER, *students], 2), 2, lambda cohort: cost[cohort[0].id])
    assert timeline == Timeline(busy=22.0, wall=10.0 + 4.0 + 4.0)


def test_a_worker_need_not_wait_for_another_teacher_here_but_a_cluster_waits_for_the_array():
    other = TEACHER.model_copy(update={"student": "resnet110"})
    pupil = student("kd", 0)
    cost = {TEACHER.id: 1.0, other.id: 9.0, pupil.id: 4.0}
    plan = plan_of([TEACHER, other, pupil], 2)
    assert simulate_jobs(plan, 2, lambda cohort: cost[cohort[0].id]).wall == 9.0
    assert simulate_jobs(plan, None, lambda cohort: cost[cohort[0].id]).wall == 13.0


def test_arrays_are_split_at_the_clusters_limit_and_share_the_workers():
    runs = [student("kd", seed) for seed in range(10)]
    [wave] = plan_of(runs, 8, limit=4)
    assert [(len(array.cohorts), array.parallel) for array in wave] == [(4, 2), (4, 2), (2, 2)]


def test_a_cohort_passes_its_batches_through_the_teacher_once():
    runs = [student(method, 0) for method in ("kd", "at")]
    times = {kind_of(run): SecondsPerImage(2.0, 1.0, "timing") for run in runs}
    assert cohort_seconds(runs, times) == images_seen(RUN) * (2.0 + 2.0 + 1.0)


# ---------------------------------------------------------------- disk space


def test_disk_need_is_what_stays_and_the_checkpoints_of_jobs_that_run_at_once():
    runs = [student("kd", seed) for seed in range(3)]
    weights = {kind_of(RUN): DiskUse(left=10**6, checkpoint=4 * 10**6)}
    room = disk_need(plan_of(runs, 2), weights, workers=2)
    assert room.left == pytest.approx(3e6, rel=0.1)
    assert room.peak - room.left == 2 * CHECKPOINT_COPIES * 4 * 10**6


def test_the_estimated_size_of_weights_is_that_of_the_file(finished):
    for path in (finished / "results" / "runs").glob("*/record.json"):
        run = TrainRun.parse(json.loads(path.read_text())["config"])
        found = measure_sample(Sample(run, (64, 64), timed=False), finished, None)
        assert found.disk is not None
        left = (path.parent / "student.pt").stat().st_size
        assert found.disk.left == pytest.approx(left, rel=0.05)


def test_the_estimated_size_of_a_checkpoint_is_that_of_the_file():
    network = copy.deepcopy(network_and_features("resnet8", 10, 16)[0])
    run = RUN.model_copy(update={"method": default_method_config("fitnets")})
    scene, labels = NetworkPair("resnet8", "resnet8", 10, 16), torch.arange(4)
    learner = Learner(run.id, network, build_for_timing(run, scene, network, labels), run.recipe)
    images = torch.randn(4, 3, 16, 16)
    for phase in learner.phases:
        learner.begin_epoch(1, torch.device("cpu"))
        learner.step(images, network(images), labels, labels, 0)
        learner.epoch += phase.epochs
    written = len(serialise(learner.state()))
    assert disk_use(learner).checkpoint == pytest.approx(written, rel=0.05)


def test_timing_a_run_leaves_the_networks_of_others_as_they_were():
    before = fingerprint(network_and_features("resnet8", 10, 8)[0])
    few = RUN.dataset.model_copy(update={"limit": 64, "size": 8})
    run = another(RUN.model_copy(update={"dataset": few}), epochs=1)
    found = measure_sample(Sample(run, (64, 64), timed=True), Path(), torch.device("cpu"))
    assert found.seconds is not None
    assert found.seconds.own > 0
    assert found.seconds.shared > 0
    assert fingerprint(network_and_features("resnet8", 10, 8)[0]) == before


def test_where_steps_are_captured_a_run_is_timed_in_cohorts_and_at_its_evaluation(monkeypatch):
    turns: list[tuple[int, str]] = []

    def loop_for(stream, say):
        graphed = GraphedLoop(stream, Plain(), say, warm_up=1)

        def loop(turn, *rest):
            turns.append((len(turn), turn[0].phase.name))
            graphed(turn, *rest)

        return loop

    def seconds_of(work, device):
        turns.clear()
        work()
        # Pretend that a step takes 3 s and 2 s for each learner, and an evaluation 10 s.
        return 3.0 + 2.0 * turns[0][0] if turns else 10.0

    monkeypatch.setattr(cuda_graphs, "make_graph_loop", loop_for)
    monkeypatch.setattr(timing, "seconds_per_call", seconds_of)
    run = RUN.model_copy(
        update={
            "method": default_method_config("fsp"),
            "dataset": RUN.dataset.model_copy(update={"size": 8}),
            "recipe": RUN.recipe.model_copy(update={"epochs": 9, "batch_size": 4}),
        }
    )
    found = measure_sample(Sample(run, (4, 2), timed=True), Path(), torch.device("cpu")).seconds
    assert found is not None
    # 9 epochs and the initialising one on top, of 4 images, with 2 to test on.
    assert found.own * 9 * 4 == pytest.approx(10 * (2.0 + 10.0 / 2))
    assert found.shared * 9 * 4 == pytest.approx(10 * 3.0)


# ---------------------------------------------------------------- as text


def forecast_text(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, timing_steps: bool = True
) -> str:
    """Return the whole forecast, made in this process."""
    monkeypatch.setattr(
        estimates, "run_in_child_process", lambda function, *given: function(*given)
    )
    paths, at = (
        Paths(tmp_path, tmp_path),
        RUN.model_copy(update={"method": default_method_config("at"), "seed": 0}),
    )
    return "\n".join(forecast(by_id(TEACHER, RUN, at), machine, paths, timing_steps))


def test_each_estimate_says_where_it_comes_from(tmp_path, monkeypatch):
    here = {"cpu": processor_name()}
    recorded(Store(tmp_path), RUN.model_copy(update={"seed": 99}), 3600.0, here)
    monkeypatch.setattr(estimates, "TIMING_BUDGET", 0.0)
    text = forecast_text(tmp_path, LOCAL, monkeypatch)
    assert "wave 1: 1 run, 1 job\n" in text
    assert "wave 2: 2 runs, 2 jobs\n" in text
    assert "time: at least 2 CPU-core-hours, at least 60 minutes from start to end" in text
    assert "1 run from records of earlier runs" in text
    assert "1 run from other methods with the same student" in text
    assert "1 run unknown and not counted: no records, and not timed" in text
    assert "3 runs from the sizes of networks and methods" in text


def test_without_the_device_the_time_is_unknown(tmp_path, monkeypatch):
    cluster = Machine(launcher="slurm", device="cuda", workers=4)
    text = forecast_text(tmp_path, cluster, monkeypatch)
    assert "time: unknown: no records, and this machine has no cuda device to time them on" in text
    assert "hours" not in text
    assert "Slurm's MaxArraySize is unknown here" in text


def test_without_timing_nothing_is_timed(tmp_path, monkeypatch):
    text = forecast_text(tmp_path, LOCAL, monkeypatch, timing_steps=False)
    assert "time: unknown: no records (--no-timing)" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (90, "90 s"), (600, "10 minutes"), (3e5, "3.47 days")]
)
def test_durations_are_rounded_to_one_unit(seconds: float, words: str):
    assert round_duration(seconds) == words


@pytest.mark.parametrize(("seconds", "hours"), [(5400.0, "1.5"), (3600.0 * 3775, "3,775")])
def test_hours_are_written_without_an_exponent(seconds: float, hours: str):
    times = {kind_of(RUN): SecondsPerImage(1.0, 0.0, "records")}
    [line, _] = time_lines([RUN], times, CPU, Timeline(seconds, seconds), timing=True)
    assert line.startswith(f"time: about {hours} CPU-core-hours")
