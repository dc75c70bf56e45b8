"""What `speed` measures is what it says: pixels, counts, ratios, and all of it in its files."""

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmark import calibrate, cli, planned
from benchmark.data.cifar import CIFAR100
from benchmark.errors import UserError
from benchmark.graphs import Graphed
from benchmark.runs import Recipe
from benchmark.speed import epochs, figures, floor, flow, input, memory, page, report, verb
from benchmark.speed.clock import Clock, Times
from benchmark.speed.epochs import Epochs, Key, Timed
from benchmark.speed.figures import Round, Stretch
from benchmark.speed.reference import Pictures
from benchmark.speed.sides import Cohort, Loops, Scene
from tests.tape import Plain

CPU = torch.device("cpu")
BATCH = 4
TEACHER, STUDENT = "resnet14", "resnet8"


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
    found = flow.measure(TEACHER, STUDENT, CIFAR100, CPU, 1)
    assert found is not None
    assert found.difference < 1e-5
    assert found.figure.rounds == 1
    assert flow.measure("wrn_16_2", STUDENT, CIFAR100, CPU, 1) is None  # other widths


# ---------------------------------------------------------------- figures


def times(work: float, wall: float = 1.0) -> Times:
    return np.array([work, wall])


def test_a_figure_is_the_median_of_paired_ratios():
    pairs = [(10, 10), (40, 10), (9, 3)]  # 1, 4, 3: of medians it would be 10/10
    rounds = [Round({"x": times(a, 6)}, {"x": times(b, 2)}) for a, b in pairs]
    found = figures.ratio(rounds, lambda one: one.usual["x"] / one.suite["x"])
    assert found == figures.Figure(3, 1, 4, 3, 3)


def test_the_whole_course_is_weighted_by_epochs():
    kd = [Stretch("kd", 4, True)]
    fsp = [Stretch("init", 1, True), Stretch("task", 4, False)]
    parts = {k: times(v) for k, v in {"input": 1, "teacher": 10, "kd": 100}.items()}
    parts |= {"init": times(1000), "task": times(10_000)}
    whole, main = figures.whole_course([kd, fsp]), figures.main_course([kd, fsp])
    assert sum(whole.values()) == 5
    # One epoch beside the initialising one, three beside the task, and the task's last alone.
    together = (11 + 100 + 1000) + 3 * (11 + 100 + 10_000) + (1 + 10_000)
    assert figures.together(parts, whole)[0] == together
    assert figures.apart(parts, whole, always=False)[0] == 4 * 111 + 1011 + 4 * 10_001
    assert figures.apart(parts, whole, always=True)[0] == 4 * 111 + 1011 + 4 * 10_011
    assert figures.together(parts, main)[0] == 11 + 100 + 10_000
    [found] = [figures.figures([Round(parts, parts)], [kd, fsp])]
    assert found["main"].median == pytest.approx((111 + 10_011) / 10_111)
    assert found["main, unused teacher skipped"].median == pytest.approx((111 + 10_001) / 10_111)
    assert found["cohort"].median == pytest.approx(10_111 / (111 + 10_001))


# ---------------------------------------------------------------- the floor


def test_operations_and_maps_of_a_known_network_are_those_worked_out_by_hand():
    found = floor.counted("resnet20", 100, 32, BATCH)
    stages = 6 * 16 * 16 * 9 * 32**2, 5 * 32 * 32 * 9 * 16**2, 5 * 64 * 64 * 9 * 8**2
    narrowing = (9 + 1) * (16 * 32 * 16**2 + 32 * 64 * 8**2)  # a convolution and its shortcut
    assert found.flops == 2 * (3 * 16 * 9 * 32**2 + sum(stages) + narrowing + 64 * 100)
    assert found.maps == 4 * 7 * (16 * 32**2 + 32 * 16**2 + 64 * 8**2)
    assert found.eager > 3 * found.maps


def test_the_floor_is_the_tighter_of_two_bounds():
    one, rates = floor.Counted(flops=100, maps=10, eager=0), floor.Rates(flops=10, bytes=100)
    found = floor.floor(one, one, learners=2, rates=rates)
    assert found == floor.Floor(100 + 2 * 3 * 100, 10 * 2 + 2 * 12 * 10, 70, "operations")
    slow = rates._replace(bytes=1)
    found = floor.floor(one, one, learners=2, rates=slow)
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
    assert (whole.alone, whole.methods, whole.longest) == ("kd", 2, 240)
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
    return Epochs("kd", 2, 240, found)


def test_whole_epochs_are_compared_in_pairs_and_summed_to_all_epochs():
    found = by_hand()
    assert found.faster(Key("graphs", "strict", 1)) == 4
    assert (
        found.faster(Key("graphs", "strict", 2)) == 12
    )  # of 12, 10, 16; of medians it would be 10
    assert found.full("strict", steps=10) == 240 * 10 * (3 + 2)  # scratch is on its own


# ---------------------------------------------------------------- the verb


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> report.Result:
    asked = verb.Asked(
        [f"{TEACHER}:{STUDENT}", f"wrn_16_2:{STUDENT}"],
        ["kd", "fsp"],
        BATCH,
        0.0,
        "cpu",
        tmp_path_factory.mktemp("data"),
        count=60,
    )
    with pytest.MonkeyPatch.context() as patch:
        # Here torch is loaded already, so that memory needs no process of its own.
        patch.setattr(verb, "in_a_child", lambda function, *arguments: function(*arguments))
        return verb.speed(asked, Console(quiet=True))


def test_every_pair_has_two_rounds_even_where_no_time_is_left(result: report.Result):
    assert [len(pair.rounds) for pair in result.pairs] == [2, 2]
    assert result.facts["images"] == "random, of CIFAR-100's shape"


def test_what_does_not_apply_to_a_pair_is_left_out_and_told(result: report.Result):
    [first, second] = result.pairs
    assert (first.left_out, first.methods) == ({}, ["kd", "fsp"])
    assert second.methods == ["kd"]
    assert "widths differ" in second.left_out["fsp"]
    [sheet] = [s for s in page.sheets(result) if "fsp, " in s.note]
    assert f"Left out: fsp, wrn_16_2 -> {STUDENT}: widths differ" in sheet.note


def test_the_data_are_complete_and_the_page_has_every_pair(result: report.Result, tmp_path: Path):
    text = page.markdown(page.about(result), page.sheets(result))
    paths = verb.write("speed", text, report.as_json(result), tmp_path / "speed")
    written, data = (path.read_text() for path in paths)
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
    assert found["memory"]["peak_mb"] > 100
    assert found["rates"]["flops"] > 1e8
    assert {goal["met"] for goal in found["goals"]} <= {True, False}
    pixels = next(goal for goal in found["goals"] if goal["what"].startswith("pixels"))
    assert pixels["met"]


def test_whole_epochs_are_in_the_tables_the_data_and_the_goals(
    result: report.Result, whole: Epochs
):
    [first, second] = result.pairs
    assert not [goal for goal in report.goals(result) if "graphs" in goal.what]
    pairs = [replace(first, epochs=whole), replace(second, epochs=by_hand())]
    found = replace(result, pairs=pairs)
    text = page.markdown(page.about(found), page.sheets(found))
    assert f"| {first.name} | kd | graphs | fast |" in text
    assert f"| {second.name} | 2 | graphs, refused | strict | 3000.00 | 12.00 |" in text
    assert f"Not captured: {second.name}, 2 in fast: it asks the host." in text
    assert f"| {second.name} | 3 | 240 | {240 * 50_000 / BATCH * 5 / 60:.1f} |" in text
    data = json.loads(json.dumps(report.as_json(found)))["pairs"]
    assert [len(pair["epochs"]["timed"]) for pair in data] == [10, 6]
    alone = replace(result, pairs=pairs[1:])
    [single, cohort_, *others] = report.goals_of_epochs(alone)
    assert (single.value, single.wanted, single.met) == ("4.00x", ">= 4x", True)
    assert (cohort_.value, cohort_.wanted, cohort_.met) == ("12.00x", ">= 12x", True)
    assert (others[-1].value, others[-1].met) == ("2", True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pair", "resnet8"], "expected TEACHER:STUDENT"),
        (["--pair", "resnet8:resnet7"], "no such network"),
        (["--methods", "kdd"], "no such method. Did you mean 'kd'"),
        (["--methods", "kd,kd"], "each once"),
        (["--batch", "1"], "expected 2 to"),
        (["--device", "cuda"], "torch sees no GPU"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    if words[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert cli.main(["speed", *words, "--results", str(tmp_path)]) == cli.USERS_MISTAKE
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
    monkeypatch.setattr(planned, "in_a_child", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(calibrate, "LONG_ENOUGH", 0.0)
    (tmp_path / "small.yaml").write_text(SUITE)
    where = ["--results", str(tmp_path / "r"), "--data-root", str(tmp_path)]
    words = ["speed", "--suite", str(tmp_path / "small.yaml"), "--seconds", "30", *where]
    assert cli.main(words) == cli.DONE
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
