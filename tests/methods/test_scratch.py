"""Scratch: cross-entropy alone."""

from math import log

import pytest
import torch

from methods.interface import Budget, Features, Shapes
from methods.scratch import Scratch, task_loss
from tests.methods.networks import TinyNet, batch, images


def test_the_loss_is_the_cross_entropy_of_the_hand():
    # p(label) is 3/4 for the first and 1/2 for the second sample: (log 4/3 + log 2) / 2
    logits = torch.tensor([[log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)
    student_features = Features(logits, (), (), logits, logits)
    losses = task_loss(
        student_features, student_features, batch(2)._replace(labels=torch.tensor([0, 1]))
    )
    assert losses["ce"].item() == pytest.approx((log(4 / 3) + log(2)) / 2, abs=1e-12)
    assert list(losses) == ["ce"]


def test_it_is_one_phase_without_a_teacher():
    shapes = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    (phase,) = Scratch(Scratch.Config(), shapes, shapes).phases(Budget(20, "extra"))
    assert (phase.name, phase.epochs, phase.reads_teacher) == ("task", 20, False)
    assert not Scratch.needs_teacher
