"""One batch before any training: what methods read, and an author's mistakes with file and line."""

from pathlib import Path

import pytest
import torch

import methods
from benchmark import models
from benchmark.config.errors import UserError
from benchmark.suite.dry_run import (
    NetworkPair,
    as_leaves,
    dry_run_method,
    mismatch_reason,
    network_and_features,
)
from benchmark.suite.rows import Row, parse_row
from methods.interface import Budget
from tests.job.in_process import grid
from tests.methods.every_method import tensors
from tests.methods.plugin import WORKING, clean

__all__ = ["clean"]  # the fixture
SCENE = NetworkPair("resnet8", "resnet14", classes=10, size=16)


def entry(name: str) -> Row:
    found, problems = parse_row(name, None)
    assert found is not None, problems
    return found


def attempted(tmp_path: Path, old: str = "", new: str = "") -> list[str]:
    """What an author is told of a method with one thing changed."""
    assert not old or WORKING.count(old) == 1
    path = tmp_path / "mine.py"
    path.write_text(WORKING.replace(old, new))
    methods.add_file(path)
    with pytest.raises(methods.BadMethod) as caught:
        dry_run_method(entry("mine"), SCENE, 4, Budget(8, "inside"))
    return [mistake.replace(f"{tmp_path}/", "") for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("kd", [("logits",)]),
        ("at", [("stages",)]),
        ("fitnets", [("stages",), ("logits",)]),
        ("fsp", [("stem", "stages"), ()]),
        ("ab", [("preacts",), ("logits",)]),
        ("ab@crd", [("crd", "preacts"), ()]),
        ("scratch", [()]),
        ("at@crd", [("crd", "stages")]),
        ("fsp@crd", [("crd", "stem", "stages"), ()]),
    ],
)
def test_what_a_phase_reads_of_the_teacher_is_observed_not_declared(
    name: str, reads: list[tuple[str, ...]]
):
    facts = dry_run_method(entry(name), SCENE, 4, Budget(8, "inside"))
    assert [phase.reads for phase in facts] == reads


def test_every_feature_of_a_student_takes_a_gradient():
    _, features = network_and_features("wrn_16_1", 10, 16)
    shown = as_leaves(features)
    for plain, leaf in zip(tensors(features), tensors(shown), strict=True):
        assert torch.equal(plain, leaf)
        assert leaf.requires_grad


@pytest.mark.parametrize("name", ["wrn_16_1", "vgg8", "MobileNetV2", "torchvision/resnet18"])
def test_the_shapes_that_are_tried_are_those_that_a_job_builds_with(name: str):
    scene = NetworkPair(name, "resnet8", classes=10, size=64)
    assert scene.shapes() == (
        models.feature_shapes(name, 10, 3, 64),
        models.feature_shapes("resnet8", 10, 3, 64),
    )


def test_a_network_is_run_once_whatever_it_is_paired_with():
    for scene in (
        NetworkPair("resnet8", "resnet14", 7, 16),
        NetworkPair("resnet14", "resnet20", 7, 16),
    ):
        mismatch_reason(entry("kd"), scene)
    before = network_and_features.cache_info().misses
    dry_run_method(entry("at"), NetworkPair("resnet20", "resnet8", 7, 16), 4, Budget(8, "inside"))
    assert network_and_features.cache_info().misses == before


def test_images_that_are_too_small_are_the_users_mistake():
    with pytest.raises(UserError, match="MobileNetV2"):
        dry_run_method(
            entry("scratch"), NetworkPair("MobileNetV2", "resnet8", 10, 8), 4, Budget(8, "inside")
        )


def test_connectors_are_counted():
    wide = NetworkPair("resnet8", "resnet8x4", classes=10, size=16)
    assert {
        facts.connectors for facts in dry_run_method(entry("kd"), wide, 4, Budget(8, "inside"))
    } == {0}
    [init, _] = dry_run_method(entry("ab"), wide, 4, Budget(8, "inside"))
    # 1x1 convolutions of 16-64, 32-128 and 64-256 without bias, and their batch norms
    assert init.connectors == 16 * 64 + 32 * 128 + 64 * 256 + 2 * (64 + 128 + 256)


def test_a_pair_that_cannot_be_has_a_reason():
    assert mismatch_reason(entry("fsp"), SCENE) is None
    reason = mismatch_reason(entry("fsp"), NetworkPair("resnet8", "resnet8x4", classes=10, size=16))
    assert reason == "widths differ: student 16-16-32-64, teacher 32-64-128-256"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '[Phase("task", budget.epochs, self.loss)]',
            "[]",
            "mine.py:17: Mine.phases must return at least one Phase in a list, not []",
        ),
        (
            '[Phase("task", budget.epochs, self.loss)]',
            '[Phase("a", 1, self.loss), Phase("a", 7, self.loss)]',
            "mine.py:17: Mine.phases has several phases named 'a'",
        ),
        (
            "budget.epochs",
            "0.5 * budget.epochs",
            "mine.py:17: Mine.phases gives phase 'task' 4.0 epochs; take them from budget.epochs",
        ),
        (
            "budget.epochs, self.loss",
            "budget.epochs, self.loss, lr=-0.1",
            "mine.py:17: Mine.phases gives phase 'task' the lr -0.1, which must be 'scheduled', ",
        ),
        (
            ".mean()}",
            ".mean() / 0}",
            "mine.py:20: the loss of phase 'task': 'mine' is inf on a batch of noise",
        ),
        (
            ".mean()}",
            "}",
            "mine.py:20: the loss of phase 'task' must return tensors without dimensions; "
            "'mine' is a tensor of shape (2, 10)",
        ),
        (
            '{"mine": (student.logits - teacher.logits).square().mean()}',
            "(student.logits - teacher.logits).square().mean()",
            "mine.py:20: the loss of phase 'task' must return named scalars, as in {'kd': tensor}, "
            "not a tensor of shape ()",
        ),
        (
            "(student.logits -",
            "(student.logits.detach() -",
            "mine.py:20: the loss of phase 'task' reaches no parameter: was everything detached?",
        ),
        (
            "teacher.logits",
            "teacher.logit",
            "mine: AttributeError: 'Features' object has no attribute 'logit' (mine.py:21)",
        ),
    ],
)
def test_a_mistake_is_reported_before_training_with_file_and_line(
    old: str, new: str, said: str, tmp_path: Path, clean: None
):
    (mistake,) = attempted(tmp_path, old, new)
    assert mistake.startswith(said)


LAST = """
title: t
dataset: {name: digits, limit: 33}
pairs: [%s]
methods: {scratch: , kd: }
seeds: [0]
recipe: {epochs: 1, batch_size: 32, lr: 0.05}
"""


@pytest.mark.parametrize(
    ("pair", "who"),
    [
        ("resnet14 -> MobileNetV2", "scratch"),
        ("MobileNetV2 -> resnet8", "the teacher MobileNetV2"),
    ],
)
def test_a_last_batch_of_one_image_that_cannot_be_trained_is_refused_before_training(
    pair: str, who: str, tmp_path: Path
):
    with pytest.raises(UserError) as caught:
        grid(tmp_path, LAST % pair)
    message = str(caught.value)
    assert message.startswith(f"{who}: the last batch of an epoch has one image (33 images")
    assert "Choose another batch_size" in message


@pytest.mark.parametrize(
    ("pair", "limit"), [("resnet14 -> MobileNetV2", 34), ("resnet14 -> resnet8", 33)]
)
def test_a_last_batch_that_can_be_trained_is_accepted(pair: str, limit: int, tmp_path: Path):
    assert grid(tmp_path, (LAST % pair).replace("33", str(limit))).runs()


def test_a_loss_of_a_single_image_that_is_no_number_is_refused(tmp_path: Path, clean: None):
    path = tmp_path / "mine.py"
    spread = "student.embedding.var(dim=0, correction=0).mean() / (len(batch.labels) - 1)"
    path.write_text(WORKING.replace("return {", f'return {{"spread": {spread}, '))
    methods.add_file(path)
    budget = Budget(8, "inside")
    assert dry_run_method(entry("mine"), SCENE, 4, budget, images=10)
    with pytest.raises(UserError, match=r"one image \(9 images in batches of 4\).*'spread' is nan"):
        dry_run_method(entry("mine"), SCENE, 4, budget, images=9)
