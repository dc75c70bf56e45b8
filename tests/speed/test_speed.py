"""What `speed` measures is what it says: pixels, counts, ratios, and all of it in its files."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmark.cli import console, speed
from benchmark.cli import main as cli
from benchmark.config.errors import UserError
from benchmark.config.recipe import Recipe
from benchmark.data.sets.cifar import CIFAR100
from benchmark.data.stream import Stream
from benchmark.estimate import timing
from benchmark.speed import (
    agreement,
    epochs,
    fsp_loss,
    input,
    measure,
    memory,
    ratios,
    roofline,
    saved_result,
    tables,
    trainings,
)
from benchmark.speed import result as report
from benchmark.speed.both_sides import Cohort, Loops, Scene
from benchmark.speed.epochs import Epochs, Key, Timed
from benchmark.speed.ratios import Round, Stretch
from benchmark.speed.reference import Pictures
from benchmark.speed.result import Result
from benchmark.speed.trainings import Training
from benchmark.suite import suite
from benchmark.training.cohort import Loop, train_epoch
from benchmark.training.cuda_graphs import Graphed
from benchmark.training.learner import Learner
from benchmark.training.meters import Clock, Times
from tests.training.tape import Plain

CPU = torch.device("cpu")
BATCH = 4
TEACHER, STUDENT = "resnet14", "resnet8"
PAIRS = f"{TEACHER}:{STUDENT}", f"wrn_16_2:{STUDENT}"


@pytest.fixture(scope="module")
def scene() -> Scene:
    recipe = Recipe(epochs=240, batch_size=BATCH, lr=0.05, init_epochs="extra")
    return Scene(CIFAR100, memory.noise(100, CIFAR100), recipe, CPU, 1)


def cohort(scene: Scene, *labels: str, teacher: str = TEACHER) -> Cohort:
    entries = [memory.entry_of(label) for label in labels]
    return Cohort(scene, scene.stream(), teacher, STUDENT, entries)


def loops(scene: Scene, *labels: str, teacher: str = TEACHER) -> Loops:
    entries = [memory.entry_of(label) for label in labels]
    return Loops(scene, Pictures(scene.images, CIFAR100), teacher, STUDENT, entries)


# ---------------------------------------------------------------- the two sides


def test_pixels_are_the_usual_pipelines_and_one_that_is_not_is_found(scene: Scene):
    pictures = Pictures(scene.images, CIFAR100)
    assert input.differing(scene.stream(), pictures, 100) == 0
    pictures.arrays[17, 16, 16, 1] ^= 1  # in the middle, where no crop leaves it out
    assert input.differing(scene.stream(), pictures, 100) == 1


def test_the_usual_pipeline_augments_as_it_does_for_a_given_draw(scene: Scene):
    pictures = Pictures(scene.images, CIFAR100)
    crops = [(d, r, f) for d in range(9) for r in range(9) for f in (False, True)]
    possible = [pictures.drawn(3, *draw) for draw in crops]
    shown, _, _ = pictures[3]
    assert sum(torch.equal(shown, image) for image in possible) == 1


@pytest.mark.parametrize(
    ("teacher", "labels"), [(TEACHER, ["kd", "at", "fsp"]), ("wrn_16_2", ["fitnets", "ab"])]
)
def test_both_sides_compute_the_same_losses(scene: Scene, teacher: str, labels: list[str]):
    ours, theirs = cohort(scene, *labels, teacher=teacher), loops(scene, *labels, teacher=teacher)
    images, targets, indices = batch = next(scene.stream().epoch(0))
    for learner in ours.learners:
        learner.begin_epoch(240, CPU)
        learner.step(images, ours.teacher(images), targets, indices, 1)
    found = {learner.name: float(sum(learner.sums.values())) / BATCH for learner in ours.learners}
    for loop in [*theirs.main, *theirs.init]:
        loop.progress = float(ours.learners[0].progress[1])
        loop.step(batch, theirs.teacher, theirs.spans)
        if loop.name != "fitnets: distill":  # anneals: the two are at other places of it
            assert loop.told[0][0] == pytest.approx(found[loop.name], rel=1e-4), loop.name


def test_usual_loops_pass_the_teacher_for_every_method_and_a_cohort_once(scene: Scene):
    ours, theirs = cohort(scene, "kd", "at", "fsp"), loops(scene, "kd", "at", "fsp")
    calls: list[str] = []
    theirs.teacher.register_forward_hook(lambda *_: calls.append("usual"))
    ours.teacher.register_forward_hook(lambda *_: calls.append("suite"))
    parts = theirs.measure(), ours.measure()
    assert calls == ["usual"] * 3 + ["suite"]
    assert parts[0].keys() == parts[1].keys()
    steps = {"kd: distill", "at: distill", "fsp: init", "fsp: task"}
    assert parts[0].keys() == {"input", "teacher"} | steps
    assert all((times > 0).all() for part in parts for times in part.values())


def test_a_learner_that_fails_is_told(scene: Scene):
    sick = cohort(scene, "kd")
    sick.learners[0].student.head.weight.data = torch.zeros(3)  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"kd: distill: .*Error"):
        sick.measure()


def test_fsp_by_broadcasting_has_the_same_value():
    found = fsp_loss.measure(TEACHER, STUDENT, CIFAR100, CPU, 1)
    assert found is not None
    assert found.difference < 1e-5
    assert found.figure.rounds == 1
    assert fsp_loss.measure("wrn_16_2", STUDENT, CIFAR100, CPU, 1) is None  # other widths


# ---------------------------------------------------------------- figures


def times(work: float, wall: float = 1.0) -> Times:
    return np.array([work, wall])


def test_a_figure_is_the_median_of_paired_ratios():
    pairs = [(10, 10), (40, 10), (9, 3)]  # 1, 4, 3: of medians it would be 10/10
    rounds = [Round({"x": times(a, 6)}, {"x": times(b, 2)}) for a, b in pairs]
    found = ratios.ratio(rounds, lambda one: one.usual["x"] / one.suite["x"])
    assert found == ratios.Figure(3, 1, 4, 3, 3)


def test_the_whole_course_is_weighted_by_epochs():
    kd = [Stretch("kd", 4, True)]
    fsp = [Stretch("init", 1, True), Stretch("task", 4, False)]
    parts = {k: times(v) for k, v in {"input": 1, "teacher": 10, "kd": 100}.items()}
    parts |= {"init": times(1000), "task": times(10_000)}
    whole, main = ratios.whole_course([kd, fsp]), ratios.main_course([kd, fsp])
    assert sum(whole.values()) == 5
    # One epoch beside the initialising one, three beside the task, and the task's last alone.
    together = (11 + 100 + 1000) + 3 * (11 + 100 + 10_000) + (1 + 10_000)
    assert ratios.together(parts, whole)[0] == together
    assert ratios.apart(parts, whole, always=False)[0] == 4 * 111 + 1011 + 4 * 10_001
    assert ratios.apart(parts, whole, always=True)[0] == 4 * 111 + 1011 + 4 * 10_011
    assert ratios.together(parts, main)[0] == 11 + 100 + 10_000
    [found] = [ratios.figures([Round(parts, parts)], [kd, fsp])]
    assert found["main"].median == pytest.approx((111 + 10_011) / 10_111)
    assert found["main, unused teacher skipped"].median == pytest.approx((111 + 10_001) / 10_111)
    assert found["cohort"].median == pytest.approx(10_111 / (111 + 10_001))


# ---------------------------------------------------------------- the floor


def test_operations_and_maps_of_a_known_network_are_those_worked_out_by_hand():
    found = roofline.counted("resnet20", 100, 32, BATCH)
    stages = 6 * 16 * 16 * 9 * 32**2, 5 * 32 * 32 * 9 * 16**2, 5 * 64 * 64 * 9 * 8**2
    narrowing = (9 + 1) * (16 * 32 * 16**2 + 32 * 64 * 8**2)  # a convolution and its shortcut
    assert found.flops == 2 * (3 * 16 * 9 * 32**2 + sum(stages) + narrowing + 64 * 100)
    assert found.maps == 4 * 7 * (16 * 32**2 + 32 * 16**2 + 64 * 8**2)
    assert found.eager > 3 * found.maps


def test_the_floor_is_the_tighter_of_two_bounds():
    one, rates = roofline.Counted(flops=100, maps=10, eager=0), roofline.Rates(flops=10, bytes=100)
    found = roofline.floor(one, one, learners=2, rates=rates)
    assert found == roofline.Floor(100 + 2 * 3 * 100, 10 * 2 + 2 * 12 * 10, 70, "operations")
    slow = rates._replace(bytes=1)
    found = roofline.floor(one, one, learners=2, rates=slow)
    assert (found.seconds, found.bound) == (260, "bytes")


def test_the_clock_of_work_does_not_count_waiting():
    clock = Clock(CPU)
    start = clock.now()
    time.sleep(0.05)
    work, wall = clock.between(start, clock.now())
    assert wall >= 0.05
    assert work < 0.04


# ---------------------------------------------------------------- whole epochs


@pytest.fixture(scope="module")
def whole(scene: Scene) -> Epochs:
    """On a CPU, where a graph's stand-in runs a step again."""
    pair, labels = (TEACHER, STUDENT), ["at", "kd"]
    made: dict[str, epochs.Make] = {
        "eager": epochs.LOOPS["eager"],
        "graphs": lambda stream, say: Graphed(stream, Plain(), say, warm_up=1),
    }
    entries = [memory.entry_of(label) for label in labels]
    return epochs.measure(scene, loops(scene, *labels), pair, entries, made, 2, 1, batches=1)


def test_every_loop_is_timed_in_every_profile_alone_and_together(whole: Epochs):
    ways = [("usual", "usual")]
    ways += [(loop, numerics) for loop in ("eager", "graphs") for numerics in ("strict", "fast")]
    assert whole.timed.keys() == {Key(*way, count) for way in ways for count in (1, 2)}
    assert (whole.alone, whole.methods) == ("kd", 2)
    for timed in whole.timed.values():
        assert len(timed.seconds) == 2
        assert min(timed.seconds) > 0
        assert (timed.waits, timed.refused) == (None, "")


def test_a_timed_epoch_is_the_streams_and_stays_in_the_main_phase(scene: Scene):
    sizes, phases = Counter[int](), set()
    entries = [memory.entry_of("fitnets")]
    stream = replace(scene, images=scene.images.first(5)).stream()
    pair = "wrn_16_2", STUDENT
    side = epochs.Suite(scene, stream, pair, entries, "fast", epochs.LOOPS["eager"])
    [learner] = side.learners
    learner.student.register_forward_hook(lambda _, given, __: sizes.update([len(given[0])]))
    learner.student.register_forward_hook(lambda *_: phases.add(learner.phase.name))
    side.warm_up(1)
    optimizer = learner.optimizer
    assert side.time() > 0
    assert (side.epoch, sizes, phases) == (2, {4: 2, 1: 2}, {"distill"})
    assert learner.optimizer is optimizer  # else nothing captured could be kept


def by_hand() -> Epochs:
    def timed(*seconds: float, waits: int | None = None, refused: str = "") -> Timed:
        return Timed(seconds, waits, refused)

    found = {Key("usual", "usual", 1): timed(8, 8, 8), Key("usual", "usual", 2): timed(24, 30, 48)}
    for numerics in ("strict", "fast"):
        found[Key("graphs", numerics, 1)] = timed(2, 2, 2, waits=0)
        found[Key("graphs", numerics, 2)] = timed(2, 3, 3, waits=1, refused="it asks the host")
    return Epochs("kd", 2, found)


def test_whole_epochs_are_compared_in_pairs():
    found = by_hand()
    assert found.faster(Key("graphs", "strict", 1)) == 4
    assert (
        found.faster(Key("graphs", "strict", 2)) == 12
    )  # of 12, 10, 16; of medians it would be 10


# ---------------------------------------------------------------- what jobs on a GPU do


def stand_in(stream: Stream, say: Callable[[str], None]) -> Graphed:
    return Graphed(stream, Plain(), say, warm_up=1)


def test_a_hundred_steps_by_graphs_are_compared_with_the_loop_to_the_bit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    assert agreement.EPOCHS * (agreement.BATCHES + 1) == 100
    monkeypatch.setattr(agreement, "EPOCHS", 2)
    pair, entries = (TEACHER, STUDENT), [memory.entry_of("kd"), memory.entry_of("fitnets")]
    found = agreement.measure(scene, pair, entries, stand_in)
    assert found == agreement.Agreement(f"{TEACHER} -> {STUDENT}, 2 methods", 10, 0.0, [], "")

    def wrong(stream: Stream, say: Callable[[str], None]) -> Loop:
        def loop(turn: Sequence[Learner], *rest: Any) -> None:
            train_epoch(turn, *rest)
            next(iter(turn[1].sums.values())).mul_(1 + 1e-3)

        return loop

    found = agreement.measure(scene, pair, entries, wrong)
    assert found.differing == ["fitnets"]
    assert found.losses == pytest.approx(1e-3)


def test_whole_trainings_are_computed_from_steps_and_evaluations():
    one = Training(TEACHER, STUDENT, "strict", 6, epochs=270, step=2.0, evaluation=5.0)
    assert one.seconds(steps=10) == 270 * (10 * 2.0 + 5.0)
    table = [one._replace(teacher=t, student=s) for t, s in trainings.TABLE]
    assert trainings.whole_table(table, "strict", 10) == 7 * 3 * 270 * 25
    assert trainings.whole_table(table[1:], "strict", 10) is None
    assert trainings.whole_table(table, "fast", 10) is None


# ---------------------------------------------------------------- the verb


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return measured(tmp_path_factory.mktemp("speed"), "kd", "fsp")


def measured(folder: Path, *labels: str, count: int = 60, pairs: Sequence[str] = PAIRS) -> Result:
    entries = [memory.entry_of(label) for label in labels]
    asked = measure.Asked(
        [speed.pair_of(pair) for pair in pairs],
        entries,
        BATCH,
        0.0,
        "cpu",
        folder,
        folder / "a.json",
    )
    with pytest.MonkeyPatch.context() as patch:
        # Here torch is loaded already, so that memory needs no process of its own.
        patch.setattr(measure, "in_a_child", lambda function, *arguments: function(*arguments))
        return speed.measure_speed(replace(asked, count=count), Console(quiet=True))


def test_every_pair_has_two_rounds_even_where_no_time_is_left(result: Result):
    assert [len(pair.rounds) for pair in result.pairs] == [2, 2]
    assert result.facts["images"] == "random, of CIFAR-100's shape"


def test_what_does_not_apply_to_a_pair_is_left_out_and_told(result: Result):
    [first, second] = result.pairs
    assert (first.left_out, first.methods) == ({}, ["kd", "fsp"])
    assert second.methods == ["kd"]
    assert "widths differ" in second.left_out["fsp"]
    [sheet] = [s for s in tables.sheets(result) if "fsp, " in s.note]
    assert f"Left out: fsp, wrn_16_2 -> {STUDENT}: widths differ" in sheet.note


def test_the_data_are_complete_and_the_page_has_every_pair(result: Result, tmp_path: Path):
    text = tables.markdown(tables.about(result), tables.sheets(result))
    measure.write(tmp_path / "speed" / "a.json", text, saved_result.as_json(result))
    written, data = ((tmp_path / "speed" / name).read_text() for name in ("a.md", "a.json"))
    found = json.loads(data)
    assert written == text
    facts = {"date", "cpu", "cores", "threads", "load_before", "load_after", "torch", "commit"}
    assert facts | {"batch", "images", "clock", "seconds", "cpu_seconds"} <= found["facts"].keys()
    for pair, of in zip(found["pairs"], result.pairs, strict=True):
        assert f"| {of.name} |" in text
        keys = {stretch["key"] for plan in pair["phases"].values() for stretch in plan}
        for one in pair["rounds"]:
            for side in ("usual", "suite"):
                assert one[side].keys() == keys | {"input", "teacher"}
        again = [one["usual"]["teacher"][0] / one["suite"]["teacher"][0] for one in pair["rounds"]]
        assert pair["figures"]["teacher"]["median"] == pytest.approx(np.median(again))
    assert found["memory"]["mib"] > 100
    assert found["rates"]["flops"] > 1e8
    assert {goal["met"] for goal in found["goals"]} <= {True, False}
    pixels = next(goal for goal in found["goals"] if goal["what"].startswith("pixels"))
    assert pixels["met"]


def test_whole_epochs_are_in_the_tables_the_data_and_the_goals(result: Result, whole: Epochs):
    [first, second] = result.pairs
    assert not [goal for goal in report.goals(result) if "graphs" in goal.what]
    pairs = [replace(first, epochs=whole), replace(second, epochs=by_hand())]
    found = replace(result, pairs=pairs)
    text = tables.markdown(tables.about(found), tables.sheets(found))
    assert f"| {first.name} | kd | graphs | fast |" in text
    assert f"| {second.name} | 2 | graphs, refused | strict | 3000.00 | 12.00 |" in text
    assert f"Not captured: {second.name}, 2 in fast: it asks the host." in text
    data = json.loads(json.dumps(saved_result.as_json(found)))["pairs"]
    assert [len(pair["epochs"]["timed"]) for pair in data] == [10, 6]
    alone = replace(result, pairs=pairs[1:])
    [single, cohort_, *others] = report.goals_of_epochs(alone)
    assert (single.value, single.wanted, single.met) == ("4.00x", ">= 4x", True)
    assert (cohort_.value, cohort_.wanted, cohort_.met) == ("12.00x", ">= 12x", True)
    assert (others[-1].value, others[-1].met) == ("2", True)


class Cut(BaseException):
    """The lent machine is taken away."""


def test_a_call_that_was_cut_off_keeps_what_it_has_and_the_next_goes_on(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.json"
    part = replace(result, pairs=result.pairs[:1], memory=None)
    measure.write(path, tables.markdown([], tables.sheets(part)), saved_result.as_json(part))
    assert "Not complete" in path.with_suffix(".md").read_text()
    real, begun = measure.bench, []

    def bench(*arguments: Any) -> measure.Bench:
        begun.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(measure, "bench", bench)
    again = measured(tmp_path, "kd", "fsp")
    assert begun == [("wrn_16_2", STUDENT)]
    assert saved_result.as_json(again)["pairs"][0] == saved_result.as_json(result)["pairs"][0]
    assert (again.rates, again.input) == (result.rates, result.input)
    assert again.facts["seconds"] > result.facts["seconds"]
    assert "Not complete" not in path.with_suffix(".md").read_text()
    written = saved_result.read(path, again.facts)
    assert written is not None
    assert (
        saved_result.as_json(written) == saved_result.as_json(again) == json.loads(path.read_text())
    )


def test_on_a_gpu_all_is_measured_and_every_part_is_kept(tmp_path, monkeypatch):
    """By a stand-in, cut off after each part."""
    monkeypatch.setattr(measure, "captures", lambda device: True)
    monkeypatch.setitem(epochs.LOOPS, "graphs", stand_in)
    monkeypatch.setattr(agreement, "EPOCHS", 1)
    for module in (epochs, trainings):
        small = partial(module.measure, rounds=1, discarded=1, batches=1)
        monkeypatch.setattr(module, "measure", small)
    parts: list[str] = []

    def write(path, *rest):
        real(path, *rest)
        data = json.loads(path.read_text())
        parts.append(next(k for k in reversed(ORDER) if data[k]))
        raise Cut

    real = measure.write
    monkeypatch.setattr(measure, "write", write)
    while parts[-2:] != ["memory"] * 2:
        with pytest.raises(Cut):
            measured(tmp_path, "kd", count=6, pairs=PAIRS[:1])
    assert parts == [*ORDER, "memory"]
    path = tmp_path / "a.json"
    found = saved_result.read(path, json.loads(path.read_text())["facts"])
    assert found is not None
    assert found.agreement is not None
    assert found.agreement.differing == []
    assert found.pairs[0].epochs is not None
    assert [(one.runs, one.epochs, one.numerics) for one in found.trainings] == [
        (2, 240, "strict"),
        (2, 240, "fast"),
    ]
    assert "| resnet14 -> resnet8 | 2 | 240 | fast |" in (tmp_path / "a.md").read_text()


ORDER = ["agreement", "pairs", "trainings", "input", "memory"]


def test_results_of_another_machine_or_request_are_not_mixed(result, tmp_path):
    path = tmp_path / "a.json"
    assert saved_result.read(path, result.facts) is None
    measure.write(path, "", saved_result.as_json(result))
    assert saved_result.read(path, result.facts) is not None
    with pytest.raises(UserError, match="with batch 4, which is 64 now"):
        saved_result.read(path, {**result.facts, "batch": 64})
    path.write_text("{")
    with pytest.raises(UserError, match="not a result of `speed`"):
        saved_result.read(path, result.facts)


def test_the_hours_of_trainings_are_judged_where_all_are_known(result):
    one = Training(*trainings.TABLE[0], "fast", 6, epochs=240, step=0.001, evaluation=0.1)
    table = [one._replace(teacher=t, student=s) for t, s in trainings.TABLE]
    found = [*report.goals_of_trainings(replace(result, trainings=table))]
    hours = 7 * 3 * 240 * (50_000 / BATCH * 0.001 + 0.1) / 3600
    assert [(goal.value, goal.met) for goal in found] == [
        (f"{hours / 21 * 60:.1f} min", False),
        (f"{hours:.2f} h", False),
    ]
    assert not [*report.goals_of_trainings(replace(result, trainings=table[:1]))]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pair", "resnet8"], "expected TEACHER:STUDENT"),
        (["--pair", "resnet8:resnet7"], "no such network"),
        (["--methods", "kdd"], "no such method. Did you mean 'kd'"),
        (["--methods", "kd,kd"], "each once"),
        (["--batch", "1"], "expected 2 to"),
        (["--suite", "quickstart", "--into", "x"], "neither --pair nor --into"),
        (["--device", "cuda"], "torch sees no GPU"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    if words[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert cli.main(["speed", *words, "--results", str(tmp_path)]) == console.USERS_MISTAKE
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


SUITE = """
title: Small
dataset: {name: digits, limit: 20}
pairs: [resnet14 -> resnet8]
methods: {scratch: , kd: , at: }
seeds: [0, 1]
recipe: {epochs: 2, batch_size: 10, lr: 0.05}
"""


def test_a_suites_cost_is_computed_from_steps_and_adds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(suite, "in_a_child", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(timing, "LONG_ENOUGH", 0.0)
    (tmp_path / "small.yaml").write_text(SUITE)
    where = ["--results", str(tmp_path / "r"), "--data-root", str(tmp_path)]
    words = ["speed", "--suite", str(tmp_path / "small.yaml"), "--seconds", "30", *where]
    assert cli.main(words) == console.DONE
    assert "Computed, not measured" in capsys.readouterr().out
    [file] = (tmp_path / "r" / "speed").glob("cost-small-*.json")
    found = json.loads(file.read_text(), object_hook=lambda d: SimpleNamespace(**d))
    assert {(x.method, x.student, x.runs, x.origin) for x in found.lines} == {
        ("scratch", TEACHER, 1, "calibration"),
        *((method, STUDENT, 2, "calibration") for method in ("scratch", "kd", "at")),
    }
    alone = sum(line.runs * line.hours for line in found.lines)
    assert found.device_hours.alone == pytest.approx(alone)
    assert 0 < found.device_hours.cohorts < alone
