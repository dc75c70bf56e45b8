"""A step that asks nothing of the host gives the loop's numbers, and so do its replays.

On a CPU replays are a tape's; those of CUDA graphs are tested where there is a GPU.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.training import cuda_graphs
from benchmark.training.build import to_device
from benchmark.training.cohort import EpochLoop, train_learners
from benchmark.training.cuda_graphs import CudaGraphRecorder, GraphedLoop, GraphRecorder
from benchmark.training.learner import Learner
from benchmark.training.numerics import apply_profile
from benchmark.training.optimizer import SGD
from methods.interface import Batch, Features, Losses, Phase
from tests.data.streams import stream as pictures
from tests.training import learners as training
from tests.training.learners import ALL
from tests.training.tape import Plain, Taped

NAMES = ["scratch", "kd", "fitnets", "ab", "fsp", "crd"]
RECIPE = training.RECIPE.model_copy(update={"epochs": 2})
COUNT, BATCH = 40, 12
"""Train images and how many a batch: three full ones and a short one."""


def nothing_said(line: str) -> None:
    raise AssertionError(line)


def trained(
    learners: Sequence[Learner],
    recorder: GraphRecorder | None = None,
    say: Callable[[str], None] = nothing_said,
    count: int = COUNT,
    epochs: int | None = None,
) -> list[dict[str, Any]]:
    """Train, by a recorder or by the plain loop, and return everyone's numbers."""
    stream, test = training.streams(count=count, batch_size=BATCH)
    loop: EpochLoop | None = GraphedLoop(stream, recorder, say, warm_up=1) if recorder else None

    def after_epoch(learner: Learner) -> None:
        learner.abandoned = learner.epoch == epochs

    train_learners(learners, training.teacher(), stream, test, after_epoch, loop)
    return [training.numbers(learner) for learner in learners]


def built(names: Sequence[str] = NAMES) -> list[Learner]:
    return [training.build(name, recipe=RECIPE) for name in names]


@pytest.fixture(scope="module")
def by_the_loop() -> dict[str, dict[str, Any]]:
    return dict(zip(NAMES, trained(built()), strict=True))


@pytest.mark.parametrize("recorder", [Plain(), Taped()])
def test_phases_short_batches_and_all_steps_give_the_bits_of_the_loop(recorder, by_the_loop):
    learners = built()
    for learner, numbers in zip(learners, trained(learners, recorder), strict=True):
        assert learner.failure is None
        assert not training.same(numbers, by_the_loop[learner.name])
    assert not isinstance(recorder, Taped) or recorder.played > 2


def annealed(student: Features, teacher: Features, batch: Batch) -> Losses:
    ce = training.cross_entropy(student, teacher, batch)["ce"]
    return {"ce": (1 - batch.progress) * ce, "kd": (student.logits - teacher.logits).abs().mean()}


def test_epochs_that_are_all_replays_give_the_bits_of_the_loop():
    def cohort() -> list[Learner]:
        recipe = RECIPE.model_copy(update={"epochs": 4, "lr_drops": (0.75,)})
        annealing = training.custom("annealing", [Phase("only", 4, annealed)])
        return [annealing, training.build("crd", recipe=recipe)]

    recorder = Taped()
    taped, plain = trained(cohort(), recorder), trained(cohort())
    assert recorder.played == 1 + 3 + 4 + 4  # the short batch's own from the third epoch on
    assert [training.same(*pair) for pair in zip(taped, plain, strict=True)] == [[], []]


@pytest.mark.parametrize("first", [None, Taped()])
def test_a_checkpoint_of_either_way_is_gone_on_with_by_the_other(first, by_the_loop):
    before, after = built(["kd", "ab"]), built(["kd", "ab"])
    trained(before, first, epochs=1)
    for one, other in zip(before, after, strict=True):
        state = training.through_bytes(one.state())
        assert type(state["optimizer"]["param_groups"][0]["lr"]) is float
        other.load_state(state)
    for numbers, name in zip(trained(after, None if first else Taped()), ["kd", "ab"], strict=True):
        assert not training.same(numbers, by_the_loop[name])


def test_every_phase_of_every_method_is_operations_on_the_device_alone():
    recipe = RECIPE.model_copy(update={"epochs": 1})
    learners = [training.build(name, recipe=recipe) for name in ALL]
    stream, _ = training.streams(count=8, batch_size=4)
    loop = GraphedLoop(stream, Taped(), nothing_said, warm_up=1)
    while turn := [learner for learner in learners if learner.active]:
        loop(turn, training.teacher(), stream, 0)
        for learner in turn:
            learner.epoch += 1  # the next phase: they are one epoch long
    assert {learner.name: learner.failure for learner in learners} == dict.fromkeys(ALL)


def poisoned(student: Features, teacher: Features, batch: Batch) -> Losses:
    bad = torch.where(batch.progress > 0.3, torch.nan, 1.0)  # from the second of four steps on
    return {"ce": student.logits.square().mean(), "hint": bad * student.embedding.mean()}


def test_who_turns_non_finite_in_a_replay_is_dropped_at_the_end_and_nobody_else_is(by_the_loop):
    sick, recorder = training.custom("sick", [Phase("only", 2, poisoned)]), Taped()
    kd, _, ab = trained([*built(["kd"]), sick, *built(["ab"])], recorder)
    assert recorder.played > 1
    assert sick.failure is not None
    assert sick.failure.kind == "non-finite"
    assert "'hint' (nan)" in sick.failure.message
    assert sick.epoch == 0
    assert not training.same(kd, by_the_loop["kd"])
    assert not training.same(ab, by_the_loop["ab"])


def test_who_raises_before_anything_is_captured_fails_alone(by_the_loop):
    def broken(student: Features, teacher: Features, batch: Batch) -> Losses:
        raise ZeroDivisionError("no such luck")

    sick, recorder = training.custom("sick", [Phase("only", 2, broken)]), Taped()
    _, numbers = trained([sick, *built(["kd"])], recorder)
    assert sick.failure is not None
    assert sick.failure.message == "ZeroDivisionError: no such luck"
    assert recorder.played > 1
    assert not training.same(numbers, by_the_loop["kd"])


def test_what_a_loss_does_not_reach_does_not_move_in_replays():
    learner, recorder = training.build("fitnets", recipe=RECIPE), Taped()
    before = {name: p.detach().clone() for name, p in learner.student.named_parameters()}
    trained([learner], recorder, epochs=1)  # the hint phase is one epoch long
    assert recorder.played > 0
    rest = {name for name, p in learner.student.named_parameters() if torch.equal(before[name], p)}
    assert rest == {name for name in before if name.startswith(("layer3", "fc"))}


# ---------------------------------------------------------------- what cannot be captured


class Counting:
    """A loss that counts its calls in Python, which a replay would not."""

    def __init__(self, how: str) -> None:
        self.learner = training.custom("counting", [Phase("only", 2, self.loss)])
        self.learner.method.register_buffer("calls", torch.zeros(()))
        vars(self.learner.method).update(number=0)
        self.how = how

    def loss(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        method: Any = self.learner.method
        if self.how == "number":
            method.number += 1
        else:
            method.calls = method.calls + 1
        weight = 1 + method.number + method.calls
        return {"ce": weight * training.cross_entropy(student, teacher, batch)["ce"]}


@pytest.mark.parametrize(("how", "what"), [("number", "Custom.number"), ("buffer", "Custom.calls")])
def test_a_method_that_changes_in_python_is_found_out_and_trained_without_graphs(how, what):
    said: list[str] = []
    [numbers] = trained([Counting(how).learner], Taped(), said.append)
    [plain] = trained([Counting(how).learner])
    assert not training.same(numbers, plain)
    assert said == [f"no CUDA graph for this cohort: a step of counting changes {what} in Python"]


class Refusing(Plain):
    """A device that captures nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def record(self, program: Callable[[], None]) -> Callable[[], None]:
        raise self.error


def test_a_cohort_that_cannot_be_captured_is_trained_without_and_says_so_once_a_phase(by_the_loop):
    said: list[str] = []
    refusing = Refusing(RuntimeError("operation not permitted\nand much more"))
    numbers = trained(built(["kd", "crd"]), refusing, said.append)
    assert said == ["no CUDA graph for this cohort: operation not permitted"]
    for one, name in zip(numbers, ["kd", "crd"], strict=True):
        assert not training.same(one, by_the_loop[name])


def test_want_of_memory_in_a_capture_is_nobodys_failure_alone():
    with pytest.raises(torch.OutOfMemoryError):
        trained(built(["kd"]), Refusing(torch.OutOfMemoryError("none left")))


def test_a_step_that_reads_a_value_on_the_host_cannot_be_recorded():
    def reads(student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"ce": student.logits.mean() * float(batch.progress)}

    said: list[str] = []
    trained([training.custom("reader", [Phase("only", 1, reads)])], Taped(), said.append)
    assert "reader: RuntimeError: aten._local_scalar_dense" in said[0]


# ---------------------------------------------------------------- where there is a GPU

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = torch.device("cuda")


def placed(names: Sequence[str], epochs: int = 17) -> list[Learner]:
    recipe = RECIPE.model_copy(update={"epochs": epochs})
    return on_gpu([training.build(name, recipe=recipe) for name in names])


def on_gpu(learners: list[Learner]) -> list[Learner]:
    for learner in learners:
        to_device(learner.student, GPU)
        to_device(learner.method, GPU)
    return learners


def trained_there(
    learners: Sequence[Learner], graphed: bool, epochs: int | None = None
) -> list[dict[str, Any]]:
    """Train on the GPU, five batches an epoch and a short one, by graphs or by the plain loop."""
    apply_profile("strict")
    stream, test = training.streams(batch_size=7, device=GPU)
    teacher = copy.deepcopy(training.teacher())
    to_device(teacher, GPU)
    loop = GraphedLoop(stream, CudaGraphRecorder(GPU), nothing_said) if graphed else None

    def after_epoch(learner: Learner) -> None:
        learner.abandoned = learner.epoch == epochs

    train_learners(learners, teacher, stream, test, after_epoch, loop)
    assert not loop or not loop.refused
    return [on_host(training.numbers(learner)) for learner in learners]


def on_host(numbers: dict[str, Any]) -> dict[str, Any]:
    return {k: v.cpu() if isinstance(v, Tensor) else v for k, v in numbers.items()}


@on_a_gpu
@pytest.mark.parametrize("names", [["kd"], NAMES], ids=["alone", "together"])
def test_a_hundred_steps_of_cuda_graphs_give_the_losses_of_the_loop(names):
    plain, graphed = placed(names), placed(names)
    for one, other, learner in zip(
        trained_there(plain, graphed=False),
        trained_there(graphed, graphed=True),
        plain,
        strict=True,
    ):
        assert learner.failure is None
        assert not training.same(one, other), learner.name


@on_a_gpu
def test_every_method_can_be_captured():
    for learner in placed(ALL, epochs=4):
        trained_there([learner], graphed=True)  # what is said of it is this test's failure
        assert learner.failure is None, learner.name


@on_a_gpu
def test_who_turns_non_finite_in_a_cuda_graph_is_dropped_and_nobody_else_is():
    [sick] = on_gpu([training.custom("sick", [Phase("only", 2, poisoned)])])
    kd, _, ab = trained_there([*placed(["kd"]), sick, *placed(["ab"])], graphed=True)
    assert sick.failure is not None
    assert sick.failure.kind == "non-finite"
    alone = trained_there(placed(["kd", "ab"]), graphed=True)
    assert not training.same(kd, alone[0])
    assert not training.same(ab, alone[1])


@on_a_gpu
@pytest.mark.parametrize("graphed", [False, True])
def test_a_checkpoint_of_either_way_is_gone_on_with_by_the_other_on_a_gpu(graphed):
    whole = trained_there(placed(["kd", "crd"]), graphed=True)
    before, after = placed(["kd", "crd"]), placed(["kd", "crd"])
    trained_there(before, graphed, epochs=4)
    for one, other in zip(before, after, strict=True):
        other.load_state(training.through_bytes(one.state()))
    for numbers, wanted in zip(trained_there(after, not graphed), whole, strict=True):
        assert not training.same(numbers, wanted)


@on_a_gpu
def test_a_loss_that_waits_for_the_host_is_trained_without_graphs():
    def reads(student: Features, teacher: Features, batch: Batch) -> Losses:
        weight = 1 + float(batch.progress)
        return {"ce": weight * training.cross_entropy(student, teacher, batch)["ce"]}

    [reader] = on_gpu([training.custom("reader", [Phase("only", 2, reads)])])
    said: list[str] = []
    apply_profile("strict")
    stream, test = training.streams(batch_size=7, device=GPU)
    loop = GraphedLoop(stream, CudaGraphRecorder(GPU), said.append)
    train_learners([reader], None, stream, test, lambda _: None, loop)
    assert reader.failure is None
    assert len(said) == 1
    assert "reader" in said[0]
    trained_there(placed(["kd"], epochs=2), graphed=True)  # the device is none the worse for it


@on_a_gpu
def test_an_epoch_of_replays_waits_for_the_device_once():
    stream, test = training.streams(batch_size=7, device=GPU)
    learners = placed(["kd", "at"], epochs=6)
    teacher = copy.deepcopy(training.teacher())
    to_device(teacher, GPU)
    loop = GraphedLoop(stream, CudaGraphRecorder(GPU), nothing_said)
    waits: list[int] = []

    def watched(*arguments: Any) -> None:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            loop(*arguments)
            torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("synchroniz" in str(warning.message) for warning in seen))

    train_learners(learners, teacher, stream, test, lambda _: None, watched)
    assert waits[-1] == 0  # the one is when the epoch's sums are read


# ---------------------------------------------------------------- the parts


@pytest.mark.parametrize("crop", ["padded", "resized"])
def test_a_batch_made_of_the_table_on_the_device_is_the_epochs(crop):
    made = pictures(crop=crop, padding=4 if crop == "padded" else 0)
    assert made.resident
    table = torch.from_numpy(np.stack(made.table(3)))
    starts = range(0, made.count, made.batch_size)
    for start, batch in zip(starts, made.epoch(3), strict=True):
        again = made.batch(table[:, start : start + made.batch_size])
        assert all(torch.equal(one, other) for one, other in zip(again, batch, strict=True))


def test_a_learning_rate_on_the_device_gives_the_bits_of_a_number():
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 999)) for _ in range(2)]
    ours, plain = (SGD([one], RECIPE) for one in weights)
    for rate in (0.05, 0.05 * 0.1, 0.05 * 0.1**3):
        ours.set_rate(rate, training.CPU)
        plain.rate = rate
        for optimizer, one in zip((ours, plain), weights, strict=True):
            one.grad = one.detach().sin()
            optimizer.step()
        assert torch.equal(*weights)


def test_on_a_cpu_nothing_is_captured():
    stream, _ = training.streams()
    assert cuda_graphs.make_graph_loop(stream, nothing_said) is None
