"""Measures of finished networks follow their papers, and measuring changes nothing."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.classification import MulticlassCalibrationError

from benchmark import models
from benchmark.data.sets.digits import DIGITS
from benchmark.data.stream import TestImages
from benchmark.evaluation.accuracy import evaluate
from benchmark.evaluation.calibration import (
    MAX_TEMPERATURE,
    fit_temperature,
    measure_calibration,
    score_calibration,
)
from benchmark.evaluation.measures import compute_measures
from benchmark.evaluation.predictions import Predictions, predict
from benchmark.evaluation.similarity import cka_by_layer, linear_cka, measure_fidelity
from benchmark.job import final_evaluation
from benchmark.job.claimed_run import ClaimedRun, JobContext
from benchmark.job.cost import measure_cost
from benchmark.job.file import Job
from benchmark.job.final_evaluation import FinalEvaluation, Operations
from benchmark.job.recording import evaluate_finished
from benchmark.models import flops
from benchmark.store.folder import Store
from benchmark.store.measures import Fidelity, Measures
from benchmark.store.record import Record
from benchmark.training import cohort, meters
from benchmark.training.cohort import Cohort, train_epoch, train_learners
from benchmark.training.learner import Learner
from methods.interface import Batch, Features, Losses, Phase
from tests.job import in_process
from tests.training import learners as training

SUITE = """
title: a test
dataset: {name: digits, limit: 32}
pairs: [resnet14 -> resnet8]
methods: {scratch: {}, kd: {}, simkd: {}}
seeds: [0]
recipe: {epochs: 2, batch_size: 32, lr: 0.05}
"""


def guesses(count: int = 301, classes: int = 7, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits of which the label's is often the highest, and labels."""
    draws = torch.Generator().manual_seed(5)
    labels = torch.randint(classes, (count,), generator=draws)
    logits = torch.randn(count, classes, generator=draws) + F.one_hot(labels, classes)
    return scale * logits, labels


def predicted(logits: Tensor, labels: Tensor, **maps: Tensor) -> Predictions:
    return Predictions(logits, labels, maps, torch.empty(0))


# ---------------------------------------------------------------- calibration


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_calibration_error_is_that_of_torchmetrics(scale: float):
    logits, labels = guesses(scale=scale)
    theirs = MulticlassCalibrationError(num_classes=7, n_bins=15, norm="l1")
    expected = 100 * theirs(logits.double().softmax(1), labels).item()
    assert score_calibration(logits, labels).ece == pytest.approx(expected, rel=1e-5)


def test_likelihood_and_brier_score_are_their_formulas():
    logits, labels = guesses()
    shares = np.exp(logits.double().numpy())
    shares /= shares.sum(axis=1, keepdims=True)
    truth = np.eye(7)[labels.numpy()]
    found = score_calibration(logits, labels)
    assert found.nll == pytest.approx(-np.log((shares * truth).sum(axis=1)).mean())
    assert found.brier == pytest.approx(((shares - truth) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0])
def test_the_temperature_is_where_the_likelihood_is_highest(scale: float):
    logits, labels = guesses(scale=scale)

    def loss(log: float) -> float:
        return F.cross_entropy(logits.double() / math.exp(log), labels).item()

    best = minimize_scalar(loss, bounds=(-7, 7), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, labels) == pytest.approx(math.exp(best.x), rel=1e-5)


def test_without_a_best_temperature_it_is_a_bound():
    logits, labels = guesses(classes=3)
    never_wrong = 5 * F.one_hot(labels, 3).float()
    assert fit_temperature(never_wrong, labels) < 0.05
    assert fit_temperature(-never_wrong, labels) == pytest.approx(MAX_TEMPERATURE)
    assert fit_temperature(torch.zeros_like(logits), labels) <= MAX_TEMPERATURE


def test_an_overconfident_network_is_better_calibrated_after_scaling():
    sure = measure_calibration(*guesses(scale=8.0))
    assert sure.temperature > 1
    assert sure.scaled.nll < sure.nll
    assert sure.scaled.ece < sure.ece
    assert measure_calibration(*guesses(scale=0.1)).temperature < 1


def test_no_image_is_scaled_by_a_temperature_that_was_fitted_on_it():
    logits, labels = guesses()
    logits[::2] *= 9  # the even ones need another temperature than the odd ones
    even, odd = ((logits[half::2], labels[half::2]) for half in (0, 1))
    parts = [
        F.cross_entropy(part[0].double() / fit_temperature(*other), part[1], reduction="sum")
        for part, other in ((even, odd), (odd, even))
    ]
    found = measure_calibration(logits, labels)
    assert found.scaled.nll == pytest.approx(torch.stack(parts).sum().item() / len(labels))
    assert fit_temperature(*even) > 2 * fit_temperature(*odd)


# ---------------------------------------------------------------- fidelity and CKA


def test_a_student_that_is_its_teacher_is_as_like_it_as_can_be():
    _, test = training.streams()
    itself = predict(training.teacher(), test)
    assert measure_fidelity(itself, itself) == Fidelity(100.0, 0.0, 100.0)
    alike = cka_by_layer(itself, itself)
    assert [*alike] == ["stem", "stage 1", "stage 2", "stage 3", "embedding"]
    assert [*alike.values()] == pytest.approx([1.0] * 5)


def test_fidelity_is_its_formula():
    labels = torch.tensor([0, 1, 2, 0])
    theirs = torch.tensor([[2.0, 0, 0], [0, 0, 3], [0, 4, 0], [1, 0, 0]])  # right, wrong, wrong
    ours = torch.tensor([[2.0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]])
    found = measure_fidelity(predicted(ours, labels), predicted(theirs, labels))
    p, q = theirs.double().softmax(1), ours.double().softmax(1)
    assert (found.agreement, found.error_agreement) == (75.0, 50.0)
    assert found.kl == pytest.approx((p * (p / q).log()).sum(dim=1).mean().item())


def test_a_teacher_without_errors_has_none_to_agree_on():
    logits, _ = guesses()
    right = predicted(logits, logits.argmax(dim=1))
    assert measure_fidelity(right, right).error_agreement is None


def maps(width: int, seed: int) -> Tensor:
    return torch.randn(60, width, generator=torch.Generator().manual_seed(seed)).exp()


def test_cka_is_what_the_matrices_of_all_pairs_of_images_give():
    x, y = maps(5, 0), maps(9, 1)
    y[:, :3] += 2 * x[:, :3]
    middle = torch.eye(60).double() - 1 / 60
    k, l = (middle @ z.double() @ z.double().T @ middle for z in (x, y))  # noqa: E741
    expected = ((k * l).sum() / (k.norm() * l.norm())).item()
    assert 0.1 < expected < 0.95
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-10)


def test_cka_knows_no_rotation_no_scale_and_no_shift():
    x, y = maps(6, 0), maps(6, 1)
    y += x
    turned = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))[0]
    assert linear_cka(x, 7 * y @ turned + 3) == pytest.approx(linear_cka(x, y), rel=1e-5)


def test_what_has_no_cka_is_left_out():
    one, other = maps(4, 0), maps(5, 1)
    dead = torch.ones(60, 4)
    logits, labels = guesses(60)
    student = predicted(logits, labels, stem=dead, **{"stage 1": one}, embedding=one)
    teacher = predicted(logits, labels, stem=other, **{"stage 1": other}, embedding=other)
    assert [*cka_by_layer(student, teacher)] == ["stage 1", "embedding"]
    longer = predicted(logits, labels, **teacher.maps, **{"stage 2": other})
    assert [*cka_by_layer(student, longer)] == ["embedding"]


# ---------------------------------------------------------------- predictions and operations


def test_predictions_depend_on_batches_by_rounding_alone():
    _, test = training.streams()
    whole = TestImages(training.digits().test.first(50), DIGITS, training.CPU, 50)
    ours, theirs = (predict(training.teacher(), batches) for batches in (test, whole))
    assert torch.allclose(ours.logits, theirs.logits, atol=1e-5)
    found, other = (flat(compute_measures(each, ours)) for each in (ours, theirs))
    assert found == pytest.approx(other, rel=1e-4, abs=1e-6)


def flat(found: Measures | None) -> dict[str, float]:
    assert found is not None
    return {
        place: value
        for place, value in training.flat(dataclasses.asdict(found)).items()
        if value is not None
    }


def test_predictions_are_kept_with_labels_and_have_the_evaluations_accuracy():
    _, test = training.streams()
    file = predict(training.teacher(), test).as_npy()
    predicted, labels = np.load(io.BytesIO(file))
    assert predicted.dtype == np.uint16
    assert labels.tolist() == test.labels.tolist()
    accuracy = 100 * (predicted == labels).mean()
    assert accuracy == pytest.approx(evaluate(training.teacher(), test).top1)


@pytest.mark.parametrize("name", ["resnet8", "ShuffleV2"])
def test_operations_are_those_that_torch_counts(name: str):
    network, images = models.build(name, 10, 0).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    assert flops.flops_per_image(network, images) == counter.get_total_flops() // 2


def test_the_operations_of_a_loss_are_those_of_its_connectors():
    _, test = training.streams()
    images = next(test.batches())[0][:2]
    learner = training.build("fitnets", network="wrn_16_2")  # in its first phase, the hint's
    counted = final_evaluation.count_loss_flops(
        learner, training.teacher(), images, test.labels[:2]
    )
    [regressor] = [m for m in learner.method.modules() if isinstance(m, nn.Conv2d)]
    height, width = training.teacher()(images).stages[1].shape[2:]
    assert counted == 2 * regressor.weight.numel() * height * width


def test_a_loss_that_cannot_be_counted_costs_nothing_but_its_number():
    def fussy(student: Features, teacher: Features, batch: Batch) -> Losses:
        raise ValueError("two images are no batch")

    final, learner = cohort_of(training.custom("fussy", [Phase("only", 2, fussy)]))
    found = final.evaluate(learner, with_teacher=True)
    assert found.operations.connector_flops is None
    assert found.operations.flops
    assert found.measures


# ---------------------------------------------------------------- in a cohort


def cohort_of(*learners: Learner) -> tuple[FinalEvaluation, Learner]:
    stream, test = training.streams()
    return FinalEvaluation(Cohort([*learners], stream, test, training.teacher())), learners[0]


def test_a_cohorts_teacher_predicts_once():
    calls: list[int] = []
    final, _ = cohort_of(training.build("kd"), training.build("at"))
    hook = training.teacher().register_forward_hook(lambda *_: calls.append(1))
    for learner in final.cast.learners:
        final.evaluate(learner, with_teacher=True)
    hook.remove()
    assert len(calls) == 2 + 2  # batches of test images; two images for each loss


def test_the_measures_of_a_run_do_not_depend_on_its_cohort():
    alone, kd = cohort_of(training.build("kd"))
    training.run(kd)
    company, scratch = cohort_of(training.build("scratch"), kd)
    company.evaluate(scratch, with_teacher=False)
    assert company.evaluate(kd, with_teacher=True) == alone.evaluate(kd, with_teacher=True)
    of_scratch = company.evaluate(scratch, with_teacher=False).measures
    assert of_scratch is not None
    assert of_scratch.fidelity is None
    assert of_scratch.cka is None


def test_measuring_changes_no_bit_of_what_is_trained_after_it():
    short = training.RECIPE.model_copy(update={"epochs": 1})
    ended: list[dict[str, Any]] = []
    for measured in (False, True):
        learners = [training.build("crd", recipe=short), training.build("kd")]
        final, first = cohort_of(*learners)

        def after(
            learner: Learner, final: FinalEvaluation = final, skip: bool = not measured
        ) -> None:
            if learner.epoch == learner.epochs and not skip:
                final.evaluate(learner, with_teacher=True)

        torch.manual_seed(3)
        cohort.train_learners(
            learners, final.cast.teacher, final.cast.stream, final.cast.test, after
        )
        ended.append(training.numbers(learners[1]) | {"draw": torch.rand(2)})
        ended[-1] |= training.flat(first.student.state_dict(), "first")
        ended[-1] |= training.flat(training.teacher().state_dict(), "teacher")
    assert not training.same(*ended)


# ---------------------------------------------------------------- in a record


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The records of a small suite by method, and the teacher's."""
    folder = tmp_path_factory.mktemp("measures")
    store = in_process.perform(in_process.grid(folder, SUITE), folder)
    paths = (store.root / "runs").iterdir()
    found = [store.run(path.name).read_record() for path in paths]
    return {named(record["config"]): record for record in found}


def named(config: dict[str, Any]) -> str:
    return "teacher" if config["student"] == "resnet14" else str(config["method"]["name"])


def test_a_record_is_what_the_report_reads(done: dict[str, dict[str, Any]]):
    for name, record in done.items():
        read = TypeAdapter(Record).validate_python(record)
        assert read.measures is not None
        taught = name not in ("teacher", "scratch")
        assert (read.measures.fidelity is not None) == (read.measures.cka is not None) == taught
        fits(record["measures"], read.measures)
        assert {f.name for f in dataclasses.fields(read.cost)} <= record["cost"].keys()
        assert (read.cost.teacher_seconds is not None) == taught
        assert read.cost.step_seconds is not None
        assert 0 < read.cost.step_seconds < read.cost.seconds
        assert read.cost.energy_joules is read.cost.gpu_hours is None


def fits(written: object, read: object) -> None:
    """Every key is a field's, and every field is there."""
    if dataclasses.is_dataclass(read) and isinstance(written, dict):
        assert {f.name for f in dataclasses.fields(read)} == written.keys()
        for name, value in written.items():
            fits(value, getattr(read, name))


def test_the_nll_of_a_record_is_its_test_loss(done: dict[str, dict[str, Any]]):
    for record in done.values():
        found = record["measures"]["calibration"]["nll"]
        assert found == pytest.approx(record["result"]["test_loss"], rel=1e-5)


def test_what_simkd_deploys_has_more_operations_than_its_student(done: dict[str, dict[str, Any]]):
    cost = {name: record["cost"] for name, record in done.items()}
    assert cost["simkd"]["flops"] == cost["kd"]["flops"] == cost["kd"]["deployed_flops"]
    assert cost["simkd"]["deployed_flops"] > cost["simkd"]["flops"]
    assert cost["simkd"]["connector_flops"] > cost["kd"]["connector_flops"] == 0


def test_a_network_that_cannot_be_measured_still_has_its_record(tmp_path: Path):
    class Bare(nn.Module):
        def forward(self, images: Tensor) -> Features:
            flat = images.flatten(1)
            return Features(flat, (), (), flat, flat)  # no maps

    made = in_process.grid(tmp_path, SUITE)
    [run] = (run for run in made.runs().values() if "-kd-" in run.id)
    final, learner = cohort_of(training.build("kd"))
    learner.student = Bare()
    claimed = ClaimedRun(run, Store(tmp_path).run(run.id), None)
    claimed.learner = learner
    assert evaluate_finished(claimed, final) is None


def test_a_logit_that_is_not_finite_leaves_nothing_to_measure():
    logits, labels = guesses()
    good = predicted(logits, labels)
    bad = predicted(logits.index_fill(0, torch.tensor(3), -math.inf), labels)
    assert compute_measures(bad, good) is None
    beside = compute_measures(good, bad)
    assert beside is not None
    assert beside.fidelity is None
    assert beside.cka is None


# ---------------------------------------------------------------- time and energy


def run_with(history: list[dict[str, Any]], tmp_path: Path) -> tuple[ClaimedRun, JobContext]:
    [run] = (run for run in in_process.grid(tmp_path, SUITE).runs().values() if "-kd-" in run.id)
    store = Store(tmp_path)
    claimed = ClaimedRun(run, store.run(run.id), None)
    claimed.learner = training.build("kd")
    claimed.learner.history = history
    return claimed, JobContext(Job([run.id], "", "", "cpu"), store, training.CPU)


def test_times_are_means_of_the_epochs_that_were_clocked(tmp_path: Path):
    old = {"seconds": 4.0}  # of a checkpoint from before anything else was clocked
    rest = {"seconds": 2.0, "wall_seconds": 3.0, "joules": 5.0}
    hint = {**rest, "step_seconds": 0.1, "teacher_seconds": None}
    distill = {**rest, "step_seconds": 0.3, "teacher_seconds": 0.05}
    cost = measure_cost(*run_with([old, hint, distill], tmp_path), 40, Operations())
    assert cost.seconds == 8.0
    assert cost.step_seconds == pytest.approx(0.2)
    assert cost.teacher_seconds == 0.05
    assert cost.images_per_second == 3 * 40 / 8
    assert cost.wall_seconds is None
    assert cost.energy_joules is None
    cost = measure_cost(*run_with([hint, distill], tmp_path), 40, Operations())
    assert cost.wall_seconds == 6.0
    assert cost.energy_joules == 10.0


def test_steps_and_the_teachers_passes_are_clocked_apart():
    learners = [training.build(name) for name in ("kd", "scratch", "fsp")]
    training.run(*learners)
    for learner in learners:
        for row in learner.history:
            reads = learner.name == "kd" or row["phase"] == learner.phases[0].name == "init"
            assert (row["teacher_seconds"] is not None) == (reads and learner.name != "scratch")
            assert 0 < 3 * row["step_seconds"] < row["seconds"] * len(learners)
            assert row["joules"] is None


def test_waiting_counts_as_wall_time_only():
    work, wall = meters.time_work(training.CPU, lambda: time.sleep(0.05))
    assert wall >= 0.05
    assert work < 0.04


def test_the_time_of_an_epoch_is_the_processors_not_the_clocks():
    """A machine that is busy with something else makes a process wait; here the loop sleeps."""

    def slow_epoch(*args):
        time.sleep(0.4)
        return train_epoch(*args)

    learners = [training.build(name) for name in ("kd", "scratch")]
    stream, test = training.streams()
    train_learners(learners, training.teacher(), stream, test, lambda _: None, slow_epoch)
    for learner in learners:
        for row in learner.history:
            assert row["wall_seconds"] >= 0.2 + row["seconds"] * 0.9
            assert row["seconds"] > 0


def test_what_a_meter_has_counted_is_shared_by_a_cohort():
    """The counter is handed in: no GPU has been asked here."""
    counts: Iterator[int] = iter(range(100, 1000, 7))
    learners = [training.build(name) for name in ("kd", "at")]
    final, _ = cohort_of(*learners)
    cast = final.cast
    cohort.train_learners(
        learners, cast.teacher, cast.stream, cast.test, lambda _: None, meter=lambda: next(counts)
    )
    assert [row["joules"] for row in learners[0].history] == [3.5, 3.5]


def test_where_no_device_tells_there_is_no_meter():
    assert meters.gpu_energy_meter("00000000-0000-0000-0000-000000000000") is None
