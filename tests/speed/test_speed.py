"""`speed` measures what it claims: pixels, counts and ratios, and all of it is in its files."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
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
from benchmark.speed import (
    agreement,
    epochs,
    input,
    measure,
    memory,
    ratios,
    roofline,
    saved_result,
    tables,
    timing,
    trainings,
)
from benchmark.speed import result as report
from benchmark.speed.both_sides import Setting, SuiteCohort, UsualLoops
from benchmark.speed.epochs import EpochTimes, PairEpochs
from benchmark.speed.ratios import PairNames, Round, TimedPhase
from benchmark.speed.reference import PilImages
from benchmark.speed.result import SpeedResult
from benchmark.speed.trainings import TrainingTime
from benchmark.training.cohort import EpochLoop, train_epoch
from benchmark.training.cuda_graphs import GraphedLoop
from benchmark.training.learner import Learner
from benchmark.training.meters import Times
from tests.training.tape import Plain

CPU = torch.device("cpu")
BATCH = 4
TEACHER, STUDENT = "resnet14", "resnet8"
PAIRS = f"{TEACHER}:{STUDENT}", f"wrn_16_2:{STUDENT}"


@pytest.fixture(scope="module")
def setting() -> Setting:
    recipe = Recipe(epochs=240, batch_size=BATCH, lr=0.05, init_epochs="extra")
    return Setting(CIFAR100, memory.random_cifar_images(100, CIFAR100), recipe, CPU, 1)


def cohort(setting: Setting, *labels: str, teacher: str = TEACHER) -> SuiteCohort:
    entries = [memory.parse_method_label(label) for label in labels]
    return SuiteCohort(setting, setting.stream(), PairNames(teacher, STUDENT), entries)


def loops(setting: Setting, *labels: str, teacher: str = TEACHER) -> UsualLoops:
    entries = [memory.parse_method_label(label) for label in labels]
    return UsualLoops(
        setting, PilImages(setting.images, CIFAR100), PairNames(teacher, STUDENT), entries
    )


# ---------------------------------------------------------------- the two sides


def test_pixels_are_the_usual_pipelines_and_one_that_is_not_is_found(setting: Setting):
    pictures = PilImages(setting.images, CIFAR100)
    assert input.count_differing(setting.stream(), pictures, 100) == 0
    pictures.arrays[17, 16, 16, 1] ^= 1  # in the middle, where no crop leaves it out
    assert input.count_differing(setting.stream(), pictures, 100) == 1


def test_the_usual_pipeline_augments_as_it_does_for_a_given_draw(setting: Setting):
    pictures = PilImages(setting.images, CIFAR100)
    crops = [(d, r, f) for d in range(9) for r in range(9) for f in (False, True)]
    possible = [pictures.augmented(3, *draw) for draw in crops]
    shown, _, _ = pictures[3]
    assert sum(torch.equal(shown, image) for image in possible) == 1


@pytest.mark.parametrize(
    ("teacher", "labels"), [(TEACHER, ["kd", "at", "fsp"]), ("wrn_16_2", ["fitnets", "ab"])]
)
def test_both_sides_compute_the_same_losses(setting: Setting, teacher: str, labels: list[str]):
    ours, theirs = (
        cohort(setting, *labels, teacher=teacher),
        loops(setting, *labels, teacher=teacher),
    )
    images, targets, indices = batch = next(setting.stream().epoch(0))
    for learner in ours.learners:
        learner.begin_epoch(240, CPU)
        learner.step(images, ours.teacher(images), targets, indices, 1)
    found = {learner.name: float(sum(learner.sums.values())) / BATCH for learner in ours.learners}
    for loop in [*theirs.main, *theirs.initial]:
        loop.progress = float(ours.learners[0].progress[1])
        loop.step(batch, theirs.teacher, theirs.spans)
        if loop.name != "fitnets: distill":  # anneals: the two are at other places of it
            assert loop.metrics[0][0] == pytest.approx(found[loop.name], rel=1e-4), loop.name


def test_usual_loops_pass_the_teacher_for_every_method_and_a_cohort_once(setting: Setting):
    ours, theirs = cohort(setting, "kd", "at", "fsp"), loops(setting, "kd", "at", "fsp")
    calls: list[str] = []
    theirs.teacher.register_forward_hook(lambda *_: calls.append("usual"))
    ours.teacher.register_forward_hook(lambda *_: calls.append("suite"))
    parts = theirs.measure(), ours.measure()
    assert calls == ["usual"] * 3 + ["suite"]
    assert parts[0].keys() == parts[1].keys()
    steps = {"kd: distill", "at: distill", "fsp: init", "fsp: task"}
    assert parts[0].keys() == {"input", "teacher"} | steps
    assert all((times > 0).all() for part in parts for times in part.values())


def test_a_learner_that_fails_ends_the_measurement(setting: Setting):
    broken = cohort(setting, "kd")
    broken.learners[0].student.head.weight.data = torch.zeros(3)  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"kd: distill: .*Error"):
        broken.measure()


# ---------------------------------------------------------------- figures


def times(work: float, wall: float = 1.0) -> Times:
    return np.array([work, wall])


def test_a_figure_is_the_median_of_paired_ratios():
    pairs = [(10, 10), (40, 10), (9, 3)]  # 1, 4, 3: of medians it would be 10/10
    rounds = [Round({"x": times(a, 6)}, {"x": times(b, 2)}) for a, b in pairs]
    found = ratios.paired_ratio(rounds, lambda one: one.usual["x"] / one.suite["x"])
    assert found == ratios.Ratio(3, 1, 4, 3, 3)


def test_the_full_schedule_is_weighted_by_epochs():
    kd = [TimedPhase("kd", 4, True)]
    fsp = [TimedPhase("init", 1, True), TimedPhase("task", 4, False)]
    parts = {k: times(v) for k, v in {"input": 1, "teacher": 10, "kd": 100}.items()}
    parts |= {"init": times(1000), "task": times(10_000)}
    whole, main = ratios.full_schedule([kd, fsp]), ratios.main_schedule([kd, fsp])
    assert sum(whole.values()) == 5
    # One epoch beside the initialising one, three beside the task, and the task's last alone.
    together = (11 + 100 + 1000) + 3 * (11 + 100 + 10_000) + (1 + 10_000)
    assert ratios.cohort_time(parts, whole)[0] == together
    assert (
        ratios.separate_time(parts, whole, always_teacher=False)[0] == 4 * 111 + 1011 + 4 * 10_001
    )
    assert ratios.separate_time(parts, whole, always_teacher=True)[0] == 4 * 111 + 1011 + 4 * 10_011
    assert ratios.cohort_time(parts, main)[0] == 11 + 100 + 10_000
    [found] = [ratios.pair_ratios([Round(parts, parts)], [kd, fsp])]
    assert found["main"].median == pytest.approx((111 + 10_011) / 10_111)
    assert found["main, unused teacher skipped"].median == pytest.approx((111 + 10_001) / 10_111)
    assert found["cohort"].median == pytest.approx(10_111 / (111 + 10_001))


# ---------------------------------------------------------------- the floor


def test_operations_and_maps_of_a_known_network_are_those_worked_out_by_hand():
    found = roofline.count_network("resnet20", CIFAR100)
    stages = 6 * 16 * 16 * 9 * 32**2, 5 * 32 * 32 * 9 * 16**2, 5 * 64 * 64 * 9 * 8**2
    narrowing = (9 + 1) * (16 * 32 * 16**2 + 32 * 64 * 8**2)  # a convolution and its shortcut
    assert found.flops == 2 * (3 * 16 * 9 * 32**2 + sum(stages) + narrowing + 64 * 100)
    assert found.maps == 4 * 7 * (16 * 32**2 + 32 * 16**2 + 64 * 8**2)


def test_the_floor_is_the_tighter_of_two_bounds():
    one, rates = (
        roofline.NetworkCost(flops=100, maps=10),
        roofline.DeviceRates(flops=10, bytes=100),
    )
    found = roofline.compute_floor(one, one, learners=2, rates=rates)
    assert found == roofline.Floor(100 + 2 * 3 * 100, 10 * 2 + 2 * 12 * 10, 70, "operations")
    slow = replace(rates, bytes=1)
    found = roofline.compute_floor(one, one, learners=2, rates=slow)
    assert (found.seconds, found.bound) == (260, "bytes")


def test_the_two_sides_take_turns_at_being_first():
    calls: list[str] = []

    def side(name: str) -> str:
        calls.append(name)
        return f"seconds of {name}"

    for number in range(2):
        times = timing.measure_in_turns(number, lambda: side("usual"), lambda: side("suite"))
        assert times == ("seconds of usual", "seconds of suite")
    assert calls == ["usual", "suite", "suite", "usual"]


# ---------------------------------------------------------------- whole epochs


def stand_in(stream: Stream, say: Callable[[str], None]) -> GraphedLoop:
    return GraphedLoop(stream, Plain(), say, warm_up=1)


def measure_less(patch: pytest.MonkeyPatch, rounds: int) -> None:
    patch.setitem(epochs.LOOPS, "graphs", stand_in)
    patch.setattr(epochs, "EPOCH_BATCHES", 1)
    patch.setattr(epochs, "DISCARDED", 1)
    patch.setattr(epochs, "EPOCH_ROUNDS", rounds)


@pytest.fixture(scope="module")
def whole(setting: Setting) -> PairEpochs:
    """On a CPU, where a stand-in for a CUDA graph runs a step again."""
    pair, labels = PairNames(TEACHER, STUDENT), ["at", "kd"]
    entries = [memory.parse_method_label(label) for label in labels]
    with pytest.MonkeyPatch.context() as patch:
        measure_less(patch, rounds=2)
        return epochs.measure_epochs(setting, loops(setting, *labels), pair, entries)


def test_every_loop_is_timed_in_every_profile_alone_and_together(whole: PairEpochs):
    ways = [("usual", "usual")]
    ways += [(loop, numerics) for loop in ("eager", "graphs") for numerics in ("strict", "fast")]
    keys = Counter((times.loop, times.numerics, times.methods) for times in whole.timed)
    assert keys == Counter((*way, count) for way in ways for count in (1, 2))
    assert (whole.alone, whole.methods) == ("kd", 2)
    for times in whole.timed:
        assert len(times.seconds) == 2
        assert min(times.seconds) > 0
        assert (times.waits, times.refused) == (None, "")


def test_a_timed_epoch_is_the_streams_and_stays_in_the_main_phase(setting: Setting):
    sizes, phases = Counter[int](), set()
    entries = [memory.parse_method_label("fitnets")]
    stream = replace(setting, images=setting.images.first(5)).stream()
    pair = PairNames("wrn_16_2", STUDENT)
    side = epochs.SuiteSide(setting, stream, pair, entries, "fast", epochs.LOOPS["eager"])
    [learner] = side.learners
    learner.student.register_forward_hook(lambda _, given, __: sizes.update([len(given[0])]))
    learner.student.register_forward_hook(lambda *_: phases.add(learner.phase.name))
    side.warm_up(1)
    optimizer = learner.optimizer
    assert side.time() > 0
    assert (side.epoch, sizes, phases) == (2, {4: 2, 1: 2}, {"distill"})
    assert learner.optimizer is optimizer  # else nothing captured could be kept


def by_hand() -> PairEpochs:
    timed = [
        EpochTimes("usual", "usual", 1, (8, 8, 8)),
        EpochTimes("usual", "usual", 2, (24, 30, 48)),
    ]
    for numerics in ("strict", "fast"):
        timed += [
            EpochTimes("graphs", numerics, 1, (2, 2, 2), waits=0),
            EpochTimes("graphs", numerics, 2, (2, 3, 3), waits=1, refused="it asks the host"),
        ]
    return PairEpochs("kd", 2, timed)


def test_whole_epochs_are_compared_in_pairs():
    found = by_hand()
    assert found.speedup(found.find("graphs", "strict", 1)) == 4
    # The ratios are 12, 10 and 16; the ratio of the medians would be 10.
    assert found.speedup(found.find("graphs", "strict", 2)) == 12


# ---------------------------------------------------------------- what jobs on a GPU do


def test_a_hundred_steps_by_graphs_are_compared_with_the_loop_to_the_bit(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
):
    assert agreement.AGREEMENT_EPOCHS * (agreement.AGREEMENT_BATCHES + 1) == 100
    monkeypatch.setattr(agreement, "AGREEMENT_EPOCHS", 2)
    pair = PairNames(TEACHER, STUDENT)
    entries = [memory.parse_method_label("kd"), memory.parse_method_label("fitnets")]
    found = agreement.measure_agreement(setting, pair, entries, stand_in)
    assert found == agreement.Agreement(f"{TEACHER} -> {STUDENT}, 2 methods", 10, 0.0, [], "")

    def wrong(stream: Stream, say: Callable[[str], None]) -> EpochLoop:
        def loop(turn: Sequence[Learner], *rest: Any) -> None:
            train_epoch(turn, *rest)
            next(iter(turn[1].sums.values())).mul_(1 + 1e-3)

        return loop

    found = agreement.measure_agreement(setting, pair, entries, wrong)
    assert found.differing == ["fitnets"]
    assert found.losses == pytest.approx(1e-3)


def test_whole_trainings_are_computed_from_steps_and_evaluations():
    one = TrainingTime(
        PairNames(TEACHER, STUDENT), "strict", 6, epochs=270, step=2.0, evaluation=5.0
    )
    assert one.seconds(steps=10) == 270 * (10 * 2.0 + 5.0)
    table = [replace(one, pair=pair) for pair in trainings.CRD_PAIRS]
    assert trainings.crd_table_seconds(table, "strict", 10) == 7 * 3 * 270 * 25
    assert trainings.crd_table_seconds(table[1:], "strict", 10) is None
    assert trainings.crd_table_seconds(table, "fast", 10) is None


# ---------------------------------------------------------------- the verb


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SpeedResult:
    return measured(tmp_path_factory.mktemp("speed"), "kd", "fsp")


def measured(
    folder: Path, *labels: str, count: int = 60, pairs: Sequence[str] = PAIRS
) -> SpeedResult:
    entries = [memory.parse_method_label(label) for label in labels]
    asked = measure.Request(
        [speed.parse_speed_pair(pair) for pair in pairs],
        entries,
        BATCH,
        0.0,
        "cpu",
        folder,
        folder / "a.json",
    )
    with pytest.MonkeyPatch.context() as patch:
        # Here torch is loaded already, so that memory needs no process of its own.
        patch.setattr(
            measure, "run_in_child_process", lambda function, *arguments: function(*arguments)
        )
        return speed.measure_speed(replace(asked, count=count), Console(quiet=True))


def test_every_pair_has_two_rounds_even_where_no_time_is_left(result: SpeedResult):
    assert [len(pair.rounds) for pair in result.pairs] == [2, 2]
    assert result.facts["images"] == "random, of CIFAR-100's shape"


def test_what_does_not_apply_to_a_pair_is_left_out_with_the_reason(result: SpeedResult):
    [first, second] = result.pairs
    assert (first.left_out, [*first.phases]) == ({}, ["kd", "fsp"])
    assert [*second.phases] == ["kd"]
    assert "widths differ" in second.left_out["fsp"]
    [sheet] = [s for s in tables.result_tables(result) if "fsp, " in s.note]
    assert f"Left out: fsp, wrn_16_2 -> {STUDENT}: widths differ" in sheet.note


def test_the_data_are_complete_and_the_page_has_every_pair(result: SpeedResult, tmp_path: Path):
    text = tables.render_markdown(result)
    saved_result.write_result(tmp_path / "speed" / "a.json", result)
    written, data = ((tmp_path / "speed" / name).read_text() for name in ("a.md", "a.json"))
    assert written == text
    found, derived = (json.loads(data)[part] for part in ("measured", "derived"))
    facts = {"date", "cpu", "cores", "threads", "load_before", "load_after", "torch", "commit"}
    assert facts | {"batch", "images", "clock", "seconds", "cpu_seconds"} <= found["facts"].keys()
    for pair, of in zip(found["pairs"], result.pairs, strict=True):
        assert f"| {of.pair} |" in text
        assert pair["pair"] == {"teacher": of.pair.teacher, "student": of.pair.student}
        keys = {phase["key"] for phases in pair["phases"].values() for phase in phases}
        for one in pair["rounds"]:
            for side in ("usual", "suite"):
                assert one[side].keys() == keys | {"input", "teacher"}
        again = [one["usual"]["teacher"][0] / one["suite"]["teacher"][0] for one in pair["rounds"]]
        ratio = derived["ratios"][str(of.pair)]["teacher"]
        assert ratio["median"] == pytest.approx(np.median(again))
        assert derived["floors"][str(of.pair)]["seconds"] > 0
    assert found["memory"]["mib"] > 100
    assert found["rates"]["flops"] > 1e8
    assert {goal["met"] for goal in derived["goals"]} <= {True, False}
    pixels = next(goal for goal in derived["goals"] if "pixels" in goal["what"])
    assert pixels["met"]


def test_whole_epochs_are_in_the_tables_the_data_and_the_goals(
    result: SpeedResult, whole: PairEpochs
):
    [first, second] = result.pairs
    assert not [goal for goal in report.goals(result) if "CUDA graphs" in goal.what]
    pairs = [replace(first, epochs=whole), replace(second, epochs=by_hand())]
    found = replace(result, pairs=pairs)
    text = tables.render_markdown(found)
    assert f"| {first.pair} | kd | graphs | fast |" in text
    assert f"| {second.pair} | 2 | graphs, refused | strict | 3000.00 | 12.00 |" in text
    assert f"Not captured as CUDA graphs: {second.pair}, 2 in fast: it asks the host." in text
    data = saved_result.to_json(found)["measured"]["pairs"]
    assert [len(pair["epochs"]["timed"]) for pair in data] == [10, 6]
    alone = replace(result, pairs=pairs[1:])
    [single, cohort_, *others] = report.epoch_goals(alone)
    assert (single.value, single.wanted, single.met) == ("4.00x", ">= 4x", True)
    assert (cohort_.value, cohort_.wanted, cohort_.met) == ("12.00x", ">= 12x", True)
    assert (others[-1].value, others[-1].met) == ("2", True)


class Cut(BaseException):
    """Stands for a call that is killed."""


def test_a_call_that_was_cut_off_keeps_what_it_has_and_the_next_goes_on(
    result: SpeedResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.json"
    part = replace(result, pairs=result.pairs[:1], memory=None)
    saved_result.write_result(path, part)
    assert "Not complete" in path.with_suffix(".md").read_text()
    real, begun = measure.PairTimer, []

    def timer(*arguments: Any) -> measure.PairTimer:
        begun.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(measure, "PairTimer", timer)
    again = measured(tmp_path, "kd", "fsp")
    assert begun == [PairNames("wrn_16_2", STUDENT)]
    first, before = (saved_result.to_json(x)["measured"]["pairs"][0] for x in (again, result))
    assert first == before
    assert (again.rates, again.input) == (result.rates, result.input)
    assert again.facts["seconds"] > result.facts["seconds"]
    assert "Not complete" not in path.with_suffix(".md").read_text()
    written = saved_result.read_result(path, again.facts)
    assert written is not None
    as_json = saved_result.to_json(again)
    assert saved_result.to_json(written) == as_json == json.loads(path.read_text())
    assert tables.render_markdown(written) == path.with_suffix(".md").read_text()


def test_on_a_gpu_all_is_measured_and_every_part_is_kept(tmp_path, monkeypatch):
    """With a stand-in for CUDA graphs; the call is killed after each part."""
    monkeypatch.setattr(measure, "uses_graphs", lambda device: True)
    monkeypatch.setattr(agreement, "AGREEMENT_EPOCHS", 1)
    measure_less(monkeypatch, rounds=1)
    parts: list[str] = []

    def write(path, result):
        real(path, result)
        data = json.loads(path.read_text())["measured"]
        parts.append(next(k for k in reversed(ORDER) if data[k]))
        raise Cut

    real = saved_result.write_result
    monkeypatch.setattr(measure, "write_result", write)
    while parts[-2:] != ["memory"] * 2:
        with pytest.raises(Cut):
            measured(tmp_path, "kd", count=6, pairs=PAIRS[:1])
    assert parts == [*ORDER, "memory"]
    path = tmp_path / "a.json"
    found = saved_result.read_result(path, json.loads(path.read_text())["measured"]["facts"])
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
    assert saved_result.read_result(path, result.facts) is None
    saved_result.write_result(path, result)
    assert saved_result.read_result(path, result.facts) is not None
    with pytest.raises(UserError, match="with batch 4, but it is 64 now"):
        saved_result.read_result(path, {**result.facts, "batch": 64})
    text = path.read_text()
    path.write_text(text.replace('"flops"', '"flop"'))
    with pytest.raises(UserError, match="not a result of `speed`"):
        saved_result.read_result(path, result.facts)
    path.write_text(text.replace('"schema": 3', '"schema": 2'))
    with pytest.raises(UserError, match="another version of `speed`"):
        saved_result.read_result(path, result.facts)
    path.write_text("{")
    with pytest.raises(UserError, match="not a result of `speed`"):
        saved_result.read_result(path, result.facts)


def test_the_hours_of_trainings_are_judged_where_all_are_known(result):
    one = TrainingTime(trainings.CRD_PAIRS[0], "fast", 6, epochs=240, step=0.001, evaluation=0.1)
    table = [replace(one, pair=pair) for pair in trainings.CRD_PAIRS]
    found = [*report.training_goals(replace(result, trainings=table))]
    hours = 7 * 3 * 240 * (50_000 / BATCH * 0.001 + 0.1) / 3600
    assert [(goal.value, goal.met) for goal in found] == [
        (f"{hours / 21 * 60:.1f} min", False),
        (f"{hours:.2f} h", False),
    ]
    assert not [*report.training_goals(replace(result, trainings=table[:1]))]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pair", "resnet8"], "expected TEACHER:STUDENT"),
        (["--pair", "resnet8:resnet7"], "no such network"),
        (["--methods", "kdd"], "no such method. Did you mean 'kd'"),
        (["--methods", "kd,kd"], "each once"),
        (["--batch", "1"], "expected 2 to"),
        (["--device", "cuda"], "torch sees no GPU"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_measured(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    if words[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert cli.main(["speed", *words, "--results", str(tmp_path)]) == console.USERS_MISTAKE
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
