"""The transfer track: what is frozen stays frozen, and what is chosen is chosen on train images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.config.protocols import PROBE_PROTOCOLS
from benchmark.config.runs import ProbeRun, TrainRun, parse_run
from benchmark.data import SOURCES
from benchmark.data.stream import Normaliser
from benchmark.evaluation.accuracy import evaluate
from benchmark.store.folder import Store
from benchmark.training import build, embeddings, probes
from benchmark.training.cohort import Cohort, train_learners
from benchmark.training.embeddings import EmbeddingStream, LinearProbe
from benchmark.training.learner import Learner
from benchmark.training.probes import ProbedNetwork
from tests.job import in_process
from tests.training.learners import CPU, in_memory, same

SUITE = """
title: a test
dataset: {name: digits, limit: 96}
pairs: [resnet14 -> resnet8]
methods:
  scratch:
  simkd:
seeds: [0]
recipe: {epochs: 2, batch_size: 32, lr: 0.05}
probes:
  digits: {protocol: hsakd, epochs: 2, limit: 80}
  digits strict: {dataset: digits, protocol: strict, epochs: 12, limit: 300}
"""


DATA = in_memory(SOURCES["digits"].load(Path()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Store, dict[tuple[str, str], Any]]:
    """The small suite, all of it done; its runs by column and method."""
    folder = tmp_path_factory.mktemp("probes")
    made = in_process.grid(folder, SUITE)
    store = in_process.perform(made, folder / "results")
    headings = [column.heading for column in made.columns]
    return store, {(headings[c.column], c.method): c.run for c in made.cells}


def cast(store: Store, *runs: ProbeRun) -> Cohort:
    return probes.build_probe_cohort(runs, store, store.root, CPU)


def finish(made: Cohort, learners: list[Learner] | None = None) -> None:
    train_learners(learners or made.learners, None, made.stream, made.test, lambda _: None)
    assert not [learner.failure for learner in made.learners if learner.failure]


def onlooker(learner: Learner) -> ProbedNetwork:
    assert isinstance(learner.student, ProbedNetwork)
    return learner.student


def linear(learner: Learner) -> LinearProbe:
    assert isinstance(learner.method, LinearProbe)
    return learner.method


def values(made: Cohort) -> Tensor:
    assert isinstance(made.stream, EmbeddingStream)
    return made.stream.values


def state(module: nn.Module) -> dict[str, Any]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def test_weights_and_batch_norms_below_the_classifier_keep_every_bit(trained):
    store, runs = trained
    made = cast(store, runs["digits", "scratch"])
    [learner] = made.learners
    backbone = onlooker(learner).backbone
    before, head = state(backbone), onlooker(learner).head.weight.clone()
    finish(made)
    assert not same(state(backbone), before)
    assert any("running_mean" in key for key in before)
    assert not torch.equal(onlooker(learner).head.weight, head)
    assert probes.probe_summary(learner) == {}


def test_a_backbone_that_drifts_is_found_out(trained):
    store, runs = trained
    [learner] = cast(store, runs["digits", "scratch"]).learners
    # What public code does: the batch norms go into train mode with the rest.
    onlooker(learner).backbone.train()
    onlooker(learner).backbone(torch.randn(4, 3, 16, 16))
    with pytest.raises(RuntimeError, match="frozen network has changed"):
        probes.probe_summary(learner)


def test_a_probe_is_the_network_that_its_run_has_saved(trained):
    store, runs = trained
    run = runs["digits", "scratch"]
    network = build.load_deployed(run.backbone, store, SOURCES["digits"], CPU)
    _, test = build.build_streams(run.backbone, SOURCES["digits"], DATA, CPU)
    record = store.run(run.backbone.id).read_record()
    assert evaluate(network, test).test_loss == record["result"]["test_loss"]


def test_of_a_method_that_deploys_more_than_the_student_all_is_probed(trained):
    store, runs = trained
    run = runs["digits", "simkd"]
    network = build.load_deployed(run.backbone, store, SOURCES["digits"], CPU)
    assert not isinstance(network, models.Network)
    _, test = build.build_streams(run.backbone, SOURCES["digits"], DATA, CPU)
    record = store.run(run.backbone.id).read_record()
    assert evaluate(network, test).test_loss == record["result"]["test_loss"]


def test_a_probes_numbers_do_not_depend_on_its_cohort(trained):
    store, runs = trained
    asked = [runs["digits", "scratch"], runs["digits", "simkd"]]
    together = cast(store, *asked)
    finish(together)
    for run, learner in zip(asked, together.learners, strict=True):
        alone = cast(store, run)
        finish(alone)
        assert not same(state(alone.learners[0].student), state(learner.student))


@pytest.mark.parametrize(("column", "epochs"), [("digits", 1), ("digits strict", 5)])
def test_a_resumed_probe_ends_with_the_same_bits(trained, column, epochs):
    store, runs = trained
    whole, first, second = (cast(store, runs[column, "scratch"]) for _ in range(3))
    finish(whole)

    def stop(learner: Learner) -> None:
        learner.abandoned = learner.epoch == epochs

    train_learners(first.learners, None, first.stream, first.test, stop)
    second.learners[0].load_state(copy.deepcopy(first.learners[0].state()))
    finish(second)
    [done], [resumed] = whole.learners, second.learners
    assert done.epoch == resumed.epoch == done.epochs
    assert not same(state(done.method), state(resumed.method))
    assert not same(state(done.student), state(resumed.student))


def test_strict_takes_the_weight_decay_that_serves_held_out_images_best(trained, monkeypatch):
    monkeypatch.setattr(embeddings, "WEIGHT_DECAYS", (0.3, 0.0, 1e-6))  # the first ruins it
    store, runs = trained
    made = cast(store, runs["digits strict", "scratch"])
    [learner] = made.learners
    finish(made)
    chosen = probes.probe_summary(learner)
    scores = chosen["held_out_top1"]
    assert chosen["candidates"] == [0.3, 0.0, 1e-6]
    assert scores[0] < scores[1] == scores[2]
    assert chosen["weight_decay"] == 0.0  # of equal ones the first
    assert chosen["held_out"] == 30


def test_what_strict_has_chosen_is_in_its_record(trained):
    store, runs = trained
    chosen = store.run(runs["digits strict", "scratch"].id).read_record()["probe"]
    assert chosen["weight_decay"] in chosen["candidates"] == list(embeddings.WEIGHT_DECAYS)
    assert len(chosen["held_out_top1"]) == len(embeddings.WEIGHT_DECAYS)


def test_strict_trains_its_candidates_without_the_held_out_images(trained):
    store, runs = trained
    honest, fooled = (cast(store, runs["digits strict", "scratch"]) for _ in range(2))
    method = linear(fooled.learners[0])
    method.stream.labels[method.held_out] = 0
    for made in (honest, fooled):
        train_learners(made.learners, None, made.stream, made.test, until_the_choice)
    mine, theirs = (linear(made.learners[0]) for made in (honest, fooled))
    assert mine.candidates.any()
    assert torch.equal(mine.candidates, theirs.candidates)


def until_the_choice(learner: Learner) -> None:
    learner.abandoned = learner.epoch == 12


def test_stricts_decay_term_is_the_optimizers_weight_decay(trained):
    store, runs = trained
    made = cast(store, runs["digits strict", "scratch"])
    [learner] = made.learners
    train_learners([learner], None, made.stream, made.test, until_the_choice)
    linear(learner).choice.fill_(len(embeddings.WEIGHT_DECAYS) - 1)
    learner.abandoned = False

    def one(learner: Learner) -> None:
        learner.abandoned = learner.epoch == 13

    train_learners([learner], None, made.stream, made.test, one)
    torchs = nn.Linear(values(made).shape[1], 10)
    nn.init.zeros_(torchs.weight)
    nn.init.zeros_(torchs.bias)
    rules = PROBE_PROTOCOLS["strict"].recipe
    by_torch = torch.optim.SGD(
        torchs.parameters(), rules.lr, rules.momentum, 0, max(embeddings.WEIGHT_DECAYS), True
    )
    for shown, labels, _ in made.stream.epoch(12):
        by_torch.zero_grad()
        loss = nn.functional.cross_entropy(torchs(shown), labels)
        torch.autograd.backward(loss)
        by_torch.step()
    expected = torch.cat([torchs.weight, torchs.bias[:, None]], dim=1)
    torch.testing.assert_close(linear(learner).final, expected)


def test_strict_reads_plain_test_images_with_the_backbones_own_normalisation(trained):
    store, runs = trained
    made = cast(store, runs["digits strict", "scratch"])
    run = runs["digits strict", "scratch"]
    source = SOURCES["digits"]
    network = build.load_deployed(run.backbone, store, source, CPU)
    images = Normaliser(source, CPU)(DATA.train.pixels[:300])
    seen = network(images).embedding
    centred = seen - seen.mean(dim=0)
    width = seen.shape[1] ** 0.5
    torch.testing.assert_close(
        values(made), centred / (centred.std(dim=0) * width), rtol=1e-3, atol=1e-4
    )


def test_hsakd_is_the_published_protocol():
    rules = PROBE_PROTOCOLS["hsakd"]
    recipe = rules.recipe
    assert (recipe.lr, recipe.momentum, recipe.nesterov, recipe.weight_decay) == (0.1, 0.9, True, 0)
    assert (recipe.epochs, recipe.batch_size, recipe.lr_factor) == (100, 64, 0.1)
    assert [drop * recipe.epochs for drop in recipe.lr_drops] == [30, 60, 90]
    assert (rules.crop, rules.flip) == ("resized", True)
    assert rules.norms is not None
    assert rules.norms["stl10"] == ((0.5,) * 3, (0.5,) * 3)


def test_a_probe_is_a_run_like_any_other(trained):
    store, runs = trained
    run = runs["digits", "simkd"]
    record = store.run(run.id).read_record()
    assert record["kind"] == "probe"
    assert record["backbone"]["id"] == run.backbone.id
    assert parse_run(record["config"]) == run
    assert run.needs == (run.backbone,)
    assert [need.student for need in run.trains_first] == ["resnet14", "resnet8"]
    assert [row["epoch"] for row in record["history"]] == [1, 2]
    assert record["cost"]["parameters"] == record["cost"]["deployed_parameters"]
    assert record["measures"] is None


def test_another_backbone_protocol_or_recipe_is_another_probe(trained):
    _, runs = trained
    run = runs["digits", "scratch"]
    backbone = run.backbone
    assert isinstance(backbone, TrainRun)
    others = [
        run.model_copy(update={"backbone": backbone.model_copy(update={"seed": 9})}),
        run.model_copy(update={"protocol": "strict"}),
        run.model_copy(update={"recipe": run.recipe.model_copy(update={"epochs": 3})}),
    ]
    ids = {parse_run(other.as_json()).id for other in (run, *others)}
    assert len(ids) == 4


def test_a_backbone_that_drifts_while_embeddings_are_computed_is_found_out(trained, monkeypatch):
    store, runs = trained
    real = embeddings.compute_embeddings

    def drifting(backbone, images):
        backbone.train()
        return real(backbone, images)

    monkeypatch.setattr(embeddings, "compute_embeddings", drifting)
    with pytest.raises(RuntimeError, match="frozen network has changed"):
        cast(store, runs["digits strict", "scratch"])
