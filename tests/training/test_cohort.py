"""The law of the cohort, bit for bit, and that learners fail alone."""

import pytest
import torch
from torch import nn

import methods
from benchmark.training.cohort import train_learners
from benchmark.training.learner import Learner
from methods.interface import Batch, Features, Losses, Phase
from tests.training import learners as training
from tests.training.learners import ALL


@pytest.fixture(scope="module")
def alone():
    """Every method's learner, with every preset, trained without company."""
    learners = {name: training.build(name) for name in ALL}
    for learner in learners.values():
        training.run(learner)
    return learners


def test_every_method_trains_and_none_is_equal_to_scratch(alone):
    assert {name: learner.failure for name, learner in alone.items()} == dict.fromkeys(alone)
    scratch = training.numbers(alone["scratch"])
    for name, learner in alone.items():
        assert name == "scratch" or training.same(training.numbers(learner), scratch)


def test_a_students_numbers_do_not_depend_on_its_cohort(alone):
    company = [training.build(name) for name in ALL]
    training.run(*company)
    for learner in company:
        assert not training.same(training.numbers(learner), training.numbers(alone[learner.name]))


@pytest.mark.parametrize("name", ALL)
def test_a_run_resumed_at_any_epoch_ends_with_the_same_bits(name, alone):
    # Each epoch is trained by a new learner that knows only the last one's checkpoint: with two
    # phases, one of the edges is the phase's.
    state, last = None, training.build(name)
    for _ in range(last.epochs):
        last = training.build(name)
        if state is not None:
            last.load_state(training.through_bytes(state))
        stop_after_one_epoch(last)
        state = last.state()
    assert last.epoch == last.epochs
    assert not training.same(training.numbers(last), training.numbers(alone[name]))


def test_the_law_holds_for_methods_with_connectors_of_their_own():
    names = ["fitnets", "ab"]
    together = [training.build(name, network="wrn_16_2") for name in names]
    training.run(*together)
    for name, learner in zip(names, together, strict=True):
        assert list(learner.method.parameters())
        resumed = training.build(name, network="wrn_16_2")
        stop_after_one_epoch(resumed)
        state = training.through_bytes(resumed.state())
        resumed = training.build(name, network="wrn_16_2")
        resumed.load_state(state)
        training.run(resumed)
        assert not training.same(training.numbers(learner), training.numbers(resumed))


def stop_after_one_epoch(learner: Learner) -> None:
    stream, test = training.streams()

    class Killed(BaseException):
        pass

    def kill(_: Learner) -> None:
        raise Killed

    with pytest.raises(Killed):
        train_learners([learner], training.teacher(), stream, test, kill)


def test_learners_that_are_behind_catch_up_and_join(alone):
    ahead, behind = training.build("kd"), training.build("at")
    stop_after_one_epoch(ahead)
    order = training.run(ahead, behind)
    assert order == [["at", "1"], ["kd", "2"], ["at", "2"]]
    for learner in (ahead, behind):
        assert not training.same(training.numbers(learner), training.numbers(alone[learner.name]))


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    training.run(*(training.build(name) for name in ALL))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_cohort_passes_the_teacher_once_a_batch_and_never_moves_it():
    before = {key: value.clone() for key, value in training.teacher().state_dict().items()}
    calls = []
    hook = training.teacher().register_forward_hook(lambda *_: calls.append(1))
    training.run(training.build("kd"), training.build("at"), training.build("scratch"))
    hook.remove()
    assert len(calls) == 2 * 3  # epochs, batches
    after = training.teacher().state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_teacher_is_not_run_where_no_loss_reads_it():
    calls = []
    hook = training.teacher().register_forward_hook(lambda *_: calls.append(1))
    training.run(training.build("scratch"), training.build("fsp"))
    hook.remove()
    assert len(calls) == 1 * 3  # FSP's one initialising epoch


def poisoned(student: Features, teacher: Features, batch: Batch) -> Losses:
    bad = torch.where(batch.progress > 0.4, torch.nan, 1.0)
    return {"ce": student.logits.square().mean(), "hint": bad * student.embedding.mean()}


def test_a_learner_that_turns_non_finite_fails_alone_and_its_term_is_named(alone):
    sick = training.custom("sick", [Phase("first", 2, poisoned)])
    company = [training.build("kd"), sick, training.build("ab")]
    training.run(*company)
    assert sick.failure is not None
    assert sick.failure.kind == "non-finite"
    assert "'hint' (nan)" in sick.failure.message
    assert f"test_cohort.py:{poisoned.__code__.co_firstlineno}" in sick.failure.message
    assert (sick.failure.phase, sick.failure.epoch, sick.epoch) == ("first", 2, 1)
    for learner in (company[0], company[2]):
        assert not training.same(training.numbers(learner), training.numbers(alone[learner.name]))


def test_a_learner_whose_loss_raises_fails_alone_with_its_traceback(alone):
    def broken(student: Features, teacher: Features, batch: Batch) -> Losses:
        raise ZeroDivisionError("no such luck")

    sick, well = training.custom("sick", [Phase("only", 2, broken)]), training.build("kd")
    training.run(sick, well)
    assert sick.failure is not None
    assert sick.failure.message == "ZeroDivisionError: no such luck"
    assert "in broken" in (sick.failure.traceback or "")
    assert not training.same(training.numbers(well), training.numbers(alone["kd"]))


def test_a_loss_that_reads_a_teacher_declared_unread_is_an_error():
    def greedy(student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"kd": (student.logits - teacher.logits).square().mean()}

    sick = training.custom("sick", [Phase("only", 2, greedy, reads_teacher=False)])
    training.run(sick, training.build("kd"))
    assert sick.failure is not None
    assert "says reads_teacher=False, but its loss reads teacher.logits" in sick.failure.message


def test_a_loss_that_reads_a_student_declared_unread_is_an_error():
    sick = training.custom("sick", [Phase("only", 2, training.cross_entropy, reads_student=False)])
    training.run(sick)
    assert sick.failure is not None
    assert "says reads_student=False, but its loss reads student.logits" in sick.failure.message


def test_a_loss_that_cannot_be_minimised_is_an_error_with_its_line():
    def vector(student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"kd": student.logits.mean(dim=1)}

    sick = training.custom("sick", [Phase("only", 2, vector)])
    training.run(sick)
    assert sick.failure is not None
    place = f"test_cohort.py:{vector.__code__.co_firstlineno}: the loss of phase 'only'"
    assert place in sick.failure.message
    with pytest.raises(methods.BadMethod, match=r"Custom\.phases must return at least one Phase"):
        training.custom("sick", [])


def state_of(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.student.state_dict().items()}


def moved(learner: Learner, before: dict[str, torch.Tensor]) -> set[str]:
    """Which parts of the student are no longer what they were."""
    now = learner.student.state_dict()
    return {name for name in before if not torch.equal(before[name], now[name])}


def test_a_student_that_is_not_read_rests_with_its_batch_norms():
    def alone(student: Features, teacher: Features, batch: Batch) -> Losses:
        return {"ft": learner.method.weight.square().sum()}  # type: ignore[operator]

    learner = training.custom("ft", [Phase("paraphrase", 2, alone, reads_student=False)])
    learner.method.weight = nn.Parameter(torch.ones(2))
    before = state_of(learner)
    training.run(learner)
    assert learner.failure is None
    assert not moved(learner, before)
    assert learner.method.weight.max() < 1


def test_an_untrained_network_gathers_statistics_and_keeps_its_weights():
    learner = training.build("untrained", network="wrn_16_1")
    before = state_of(learner)
    training.run(learner)
    assert learner.failure is None
    changed = moved(learner, before)
    assert changed == {name for name in before if "running" in name or "tracked" in name}


def test_what_a_phases_loss_does_not_reach_does_not_move():
    learner = training.build("fitnets")
    before = {name: p.detach().clone() for name, p in learner.student.named_parameters()}
    stop_after_one_epoch(learner)  # the hint phase is one epoch long
    assert learner.history[-1]["phase"] == "hint"
    changed = {
        name for name, p in learner.student.named_parameters() if not torch.equal(before[name], p)
    }
    assert changed == {name for name in before if not name.startswith(("layer3", "fc"))}


def test_a_phase_begins_with_a_fresh_optimizer_over_student_and_connectors():
    learner = training.build("fitnets", network="wrn_16_2")
    assert list(learner.method.parameters())
    stop_after_one_epoch(learner)
    first = learner.optimizer
    assert first is not None
    learner.begin_epoch(3, training.CPU)
    assert learner.optimizer is not first
    assert learner.optimizer is not None
    assert not learner.optimizer.momenta
    everything = [*learner.student.parameters(), *learner.method.parameters()]
    assert [id(p) for p in learner.optimizer.parameters] == [id(p) for p in everything]
    assert all(p.grad is None for p in everything)


def test_progress_runs_from_0_towards_1_over_a_phase():
    seen: list[float] = []

    def spy(student: Features, teacher: Features, batch: Batch) -> Losses:
        seen.append(float(batch.progress))
        return training.cross_entropy(student, teacher, batch)

    training.run(training.custom("spy", [Phase("a", 2, spy), Phase("b", 1, spy)]))
    sixths, thirds = [i / 6 for i in range(6)], [i / 3 for i in range(3)]
    assert seen == pytest.approx(sixths + thirds)


def test_the_student_learns(alone):
    learner = training.build("scratch", recipe=training.RECIPE.model_copy(update={"epochs": 6}))
    stream, test = training.streams(count=400)
    train_learners([learner], None, stream, test, lambda _: None)
    losses = [row["losses"]["ce"] for row in learner.history]
    assert losses[-1] < 0.6 * losses[0]
    assert learner.history[-1]["top1"] > 50
    assert isinstance(learner.student, nn.Module)
