"""A phase that keeps the head, and `ab@crd` against the steps of the CRD benchmark's own code."""

from typing import Any, cast

import pytest
import torch
from torch import nn

import methods
from benchmark import models
from benchmark.config.recipe import Recipe
from benchmark.training.learner import Learner
from methods.interface import Batch, Features, Losses, Phase, Shapes
from tests.models.chirp import chirp, fill, images
from tests.training.learners import CPU, custom

RECIPE = Recipe(epochs=16, batch_size=2, lr=0.05)


def ab_learner() -> tuple[Learner, models.Network]:
    """`ab@crd` between networks of equal widths, filled by formula."""
    teacher, student = (models.build(name, 10, 0) for name in ("wrn_40_1", "wrn_16_1"))
    fill(teacher)(images())
    fill(student)
    spec = methods.parse("ab@crd")
    seen = [Shapes.of(network.eval()(images())) for network in (student, teacher)]
    method = spec.kind(spec.kind.Config(**spec.defaults), seen[0], seen[1])
    return Learner("ab", student, method, RECIPE), teacher


def test_two_initialising_steps_are_those_of_the_benchmarks_code():
    # The change of each weight and its sum weighted by a formula, both as computed by
    # helper/pretrain.py:init of RepDistiller (b84f547) in float64; our rate is a float32.
    learner, teacher = ab_learner()
    before = {name: value.clone() for name, value in learner.student.state_dict().items()}
    with torch.no_grad():
        features: Features = teacher(images())
    learner.begin_epoch(2, CPU)
    for step in range(2):
        learner.step(images(), features, torch.zeros(2).long(), torch.arange(2), step)
    expected = {
        "conv1.weight": (6.8320821473, 0.7681687741),
        "block1.layer.0.bn1.weight": (0.5557849248, -1.0378984709),
        "block2.layer.1.conv2.weight": (15.8670685128, 20.8576969346),
        "block3.layer.1.conv2.weight": (30.5673923064, 14.8154561885),
        "bn1.weight": (0.0, 0.0),
        "fc.weight": (0.0, 0.0),
    }
    for name, numbers in expected.items():
        change = learner.student.state_dict()[name] - before[name]
        found = change.norm().item(), (change * chirp(*change.shape)).sum().item()
        assert found == pytest.approx(numbers, rel=1e-5, abs=1e-12), name


def logit_sum(student: Features, _teacher: Features, _batch: Batch) -> Losses:
    return {"sum": student.logits.square().mean()}


@pytest.mark.parametrize("name", ["wrn_16_1", "MobileNetV2", "ShuffleV2"])
def test_what_is_behind_the_stages_rests_in_a_phase_that_keeps_the_head(name: str):
    phases = [
        Phase("kept", 1, logit_sum, reads_teacher=False, keeps_head=True),
        Phase("free", 1, logit_sum, reads_teacher=False),
    ]
    learner = custom("custom", phases)
    learner.student = cast(nn.Module, models.build(name, 10, 0))
    behind = cast(Any, learner.student).behind_stages
    x = images().float()

    def one_step() -> tuple[bool, bool]:
        states = [nn.ModuleList(behind).state_dict(), learner.student.state_dict()]
        before = [{key: value.clone() for key, value in state.items()} for state in states]
        learner.begin_epoch(1, CPU)
        learner.step(x, None, torch.zeros(2).long(), torch.arange(2), 0)
        learner.epoch += 1
        return cast(
            "tuple[bool, bool]",
            tuple(
                any(not torch.equal(value, now[key]) for key, value in then.items())
                for then, now in zip(before, states, strict=True)
            ),
        )

    assert one_step() == (False, True)
    assert one_step() == (True, True)
