"""AB's loss and connectors against numbers worked out by hand."""

from typing import Any

import pytest
import torch
from torch import nn, tensor

from methods.ab import AB, boundary_loss, connector
from methods.blocks.pairing import MapShape
from methods.interface import Budget, Features, Shapes
from methods.kd import kl_divergence
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_loss_is_that_of_the_hand():
    # margin 1, one row of units a sample:
    #   teacher off (-1), student 0.5: (0.5 + 1)^2 = 2.25    off, student -2: beyond -1, nothing
    #   teacher on (2), student 0.5: (0.5 - 1)^2 = 0.25      on, student 3: beyond 1, nothing
    #   teacher 0 counts as off, student 0: (0 + 1)^2 = 1    on, student -1: (-1 - 1)^2 = 4
    # Sum 7.5, two samples: 3.75
    teacher = tensor([[-1.0, -1.0, 2.0], [2.0, 0.0, 2.0]]).reshape(2, 3, 1, 1)
    student = tensor([[0.5, -2.0, 0.5], [3.0, 0.0, -1.0]]).reshape(2, 3, 1, 1)
    assert boundary_loss(student, teacher, 1.0).item() == 3.75


def test_the_margin_moves_the_boundary():
    # (0.5 + 2)^2 + (0.5 - 2)^2 = 6.25 + 2.25
    student, teacher = tensor([[0.5, 0.5]]), tensor([[-1.0, 1.0]])
    assert boundary_loss(student, teacher, 2.0).item() == 8.5


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(2, 3, 2, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: boundary_loss(student, teacher, 1.0), noise(2, 3, 2, 2, grad=True)
    )


def test_only_the_teachers_signs_count():
    student, teacher = noise(2, 3, 2, 2), noise(2, 3, 2, 2, seed=1)
    scaled = boundary_loss(student, 100 * teacher, 1.0)
    assert torch.equal(scaled, boundary_loss(student, teacher, 1.0))


def test_a_student_beyond_the_margins_has_no_loss():
    teacher = noise(2, 3, 2, 2)
    assert boundary_loss(1.5 * teacher.sign(), teacher, 1.0).item() == 0


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(3, 4, 2, 2), noise(3, 4, 2, 2, seed=1), [2, 0, 1]
    shuffled = boundary_loss(student[order], teacher[order], 1.0)
    torch.testing.assert_close(shuffled, boundary_loss(student, teacher, 1.0))


def test_maps_of_zeros_give_a_finite_loss_and_gradient():
    student = torch.zeros(1, 2, 1, 1, requires_grad=True)
    loss = boundary_loss(student, torch.zeros(1, 2, 1, 1), 1.0)
    torch.autograd.backward(loss)
    assert loss.item() == 2
    assert student.grad is not None
    assert student.grad.tolist() == [[[[2]], [[2]]]]


def test_a_connector_is_a_pointwise_convolution_with_bn_started_by_he():
    torch.manual_seed(0)
    conv, norm = connector(64, 512).children()
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert conv.weight.shape == (512, 64, 1, 1)
    assert conv.bias is None
    # N(0, sqrt(2 / (1 * 1 * 512))): 0.0625, here from 32,768 draws
    assert conv.weight.std().item() == pytest.approx(0.0625, rel=0.02)
    assert conv.weight.mean().item() == pytest.approx(0, abs=0.002)
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()


def test_there_is_no_connector_where_the_widths_agree():
    student = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    teacher = Shapes.of(TinyNet((4, 8, 6, 8))(images()))
    method = AB(AB.Config(), student, teacher)
    trained = [bool(list(connect.parameters())) for connect in method.connectors]
    assert trained == [True, False, False]


def test_the_last_stage_is_the_heaviest_and_pre_activations_are_read():
    # One unit a stage, teacher on, student 0: each stage loses 1. 3/1000 (1/4 + 1/2 + 1) = 0.00525
    def student_features(value: float) -> Features:
        maps = tuple(torch.full((2, 1, 1, 1), value) for _ in range(3))
        unread = tuple(torch.full((2, 1, 1, 1), torch.nan) for _ in range(3))
        return Features(unread[0], unread, maps, unread[0], unread[0])

    shapes = Shapes((1, 1, 1), ((1, 1, 1),) * 3, 1, 1)
    init, _ = AB(AB.Config(), shapes, shapes).phases(Budget(8, "inside"))
    losses = init.loss(student_features(0.0), student_features(1.0), batch(2))
    assert losses["ab"].item() == pytest.approx(0.00525)
    student = student_features(0.0)
    for stage, weight in enumerate((0.25, 0.5, 1.0)):
        done = [torch.ones(2, 1, 1, 1)] * 3
        done[stage] = student.preacts[stage]
        losses = init.loss(student._replace(preacts=tuple(done)), student_features(1.0), batch(2))
        assert losses["ab"].item() == pytest.approx(0.003 * weight)


def test_the_second_phase_is_the_divergence_alone():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    init, distill = AB(AB.Config(), shapes, shapes).phases(Budget(240, "extra"))
    assert (init.name, init.epochs, init.lr) == ("init", 30, "constant")
    assert (distill.name, distill.epochs, distill.lr) == ("distill", 240, "scheduled")
    losses = distill.loss(student, teacher, batch())
    expected = kl_divergence(student.logits, teacher.logits, 3.0)
    torch.testing.assert_close(losses, {"kd": expected})


def test_the_initialising_phase_leaves_the_classifier_alone():
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((8, 8, 12, 16))
    teacher_features = teacher(images())
    method = AB(AB.Config(), Shapes.of(student(images())), Shapes.of(teacher_features))
    init, distill = method.phases(Budget(8, "inside"))
    torch.autograd.backward(tuple(init.loss(student(images()), teacher_features, batch()).values()))
    assert student.classifier.weight.grad is None
    method.zero_grad()
    torch.autograd.backward(
        tuple(distill.loss(student(images()), teacher_features, batch()).values())
    )
    assert all(parameter.grad is None for parameter in method.parameters())


def crd(student: MapShape, teacher: MapShape) -> AB:
    """The preset between networks of one stage."""
    return AB(AB.presets["crd"], *(Shapes(m, (m,), m[0], 5) for m in (student, teacher)))


def test_the_crd_preset_initialises_as_ab_does_and_then_learns_the_task_alone():
    student, teacher = (TinyNet((4, 4, 6, 8))(images())._replace(crd_preacts=()) for _ in range(2))
    shapes = Shapes.of(student)
    init, task = AB(AB.presets["crd"], shapes, shapes).phases(Budget(240, "extra"))
    assert (init.epochs, init.lr) == (30, "constant")
    assert (task.epochs, task.lr, task.reads_teacher) == (240, "scheduled", False)
    usual, _ = AB(AB.Config(), shapes, shapes).phases(Budget(240, "extra"))
    assert (init.keeps_head, usual.keeps_head, task.keeps_head) == (True, False, False)
    losses = init.loss(student, teacher, batch())
    torch.testing.assert_close(losses, usual.loss(student, teacher, batch()), rtol=0, atol=0)
    ce = nn.functional.cross_entropy(student.logits, batch().labels)
    torch.testing.assert_close(task.loss(student, teacher, batch()), {"ce": ce})


def test_the_regression_connector_meets_the_teachers_size_with_its_sign_left_open():
    (connect,) = crd((4, 4, 4), (6, 8, 8)).connectors
    out = connect(noise(2, 4, 4, 4).float())
    assert out.shape == (2, 6, 8, 8)
    assert out.min() < 0 < out.max()


def test_the_regression_connector_is_absent_only_where_width_and_size_agree():
    shapes = ((4, 8, 8), (4, 8, 8)), ((4, 8, 8), (4, 4, 4)), ((4, 8, 8), (6, 8, 8))
    trained = [bool(list(crd(*pair).connectors.parameters())) for pair in shapes]
    assert trained == [False, True, True]


def test_sizes_that_the_regression_cannot_meet_are_reported():
    shapes = [Shapes(m, (m,), m[0], 5) for m in ((4, 3, 3), (4, 8, 8))]
    reason = AB.mismatch(AB.presets["crd"], *shapes)
    assert reason is not None
    assert "from a student's map of 3x3" in reason
    assert AB.mismatch(AB.Config(), *shapes) is None


REFUSED: list[tuple[str, Any]] = [
    (field, 0.0) for field in ("margin", "scale", "temperature", "init_share")
]


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        AB.Config(**{field: value})


def test_a_temperature_that_nothing_reads_is_refused():
    with pytest.raises(ValueError, match="temperature has no effect"):
        AB.Config(second_phase="ce", temperature=4.0)
