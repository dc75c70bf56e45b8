"""FSP's matrices and loss against numbers worked out by hand."""

from typing import Any

import pytest
import torch
from torch import tensor

from methods.fsp import FSP, flow_loss, flow_matrices, flow_matrix
from methods.interface import Budget, Shapes
from tests.methods.networks import TinyNet, batch, images, noise


def test_a_flow_matrix_is_that_of_the_hand():
    # Channels over two positions: first (1, 2); second (3, 4) and (5, 6).
    # G = ((1*3 + 2*4) / 2, (1*5 + 2*6) / 2) = (5.5, 8.5)
    first, second = tensor([[[[1.0, 2.0]]]]), tensor([[[[3.0, 4.0]], [[5.0, 6.0]]]])
    assert flow_matrix(first, second).tolist() == [[[5.5, 8.5]]]


def test_the_larger_map_is_max_pooled():
    # (1, 3, -2, -4) in pairs: maxima (3, -2); times (1, 1), mean over two positions: 0.5
    first, second = tensor([[[[1.0, 3.0, -2.0, -4.0]]]]), tensor([[[[1.0, 1.0]]]])
    assert flow_matrix(first, second).item() == 0.5
    assert flow_matrix(second, first).item() == 0.5


def test_the_larger_map_is_averaged_where_that_is_asked_for():
    # (1, 3, -2, -4) in pairs: means (2, -3); times (1, 1), mean over two positions: -0.5
    first, second = tensor([[[[1.0, 3.0, -2.0, -4.0]]]]), tensor([[[[1.0, 1.0]]]])
    assert flow_matrix(first, second, "avg").item() == -0.5
    assert flow_matrix(second, first, "avg").item() == -0.5


def test_the_mean_is_over_the_entries_of_each_matrix():
    # As below: pair one has two entries a matrix, 2.5 / 2; pair two has one, 9. Sum 10.25
    student = [tensor([[[1.0, 2.0]], [[7.0, 7.0]]]), tensor([[[3.0]], [[0.0]]])]
    teacher = [tensor([[[0.0, 0.0]], [[7.0, 7.0]]]), tensor([[[0.0]], [[3.0]]])]
    assert flow_loss(student, teacher, "mean").item() == 10.25


def test_the_loss_sums_over_pairs_and_averages_over_the_batch():
    # Pair one: sample 1 differs by (1, 2) -> 5, sample 2 by (0, 0) -> 0: mean 2.5.
    # Pair two: both differ by 3 -> 9: mean 9. Sum 11.5
    student = [tensor([[[1.0, 2.0]], [[7.0, 7.0]]]), tensor([[[3.0]], [[0.0]]])]
    teacher = [tensor([[[0.0, 0.0]], [[7.0, 7.0]]]), tensor([[[0.0]], [[3.0]]])]
    assert flow_loss(student, teacher).item() == 11.5


def test_the_gradient_agrees_with_finite_differences():
    teacher = flow_matrix(noise(2, 3, 4, 4, seed=2), noise(2, 4, 2, 2, seed=3))
    assert torch.autograd.gradcheck(
        lambda a, b: flow_loss([flow_matrix(a, b)], [teacher]),
        (noise(2, 3, 4, 4, grad=True), noise(2, 4, 2, 2, seed=1, grad=True)),
    )


def test_equal_features_have_no_loss():
    student_features = TinyNet((4, 4, 6, 8))(images())
    assert flow_loss(flow_matrices(student_features), flow_matrices(student_features)).item() == 0


def test_the_order_of_the_batch_does_not_matter():
    student, teacher, order = noise(3, 2, 4), noise(3, 2, 4, seed=1), [2, 0, 1]
    shuffled = flow_loss([student[order]], [teacher[order]])
    torch.testing.assert_close(shuffled, flow_loss([student], [teacher]))


def test_maps_of_zeros_give_a_finite_loss_and_gradient():
    first, second = torch.zeros(1, 2, 4, 4, requires_grad=True), torch.zeros(1, 3, 2, 2)
    loss = flow_loss([flow_matrix(first, second)], [torch.ones(1, 2, 3)])
    torch.autograd.backward(loss)
    assert loss.item() == 6
    assert first.grad is not None
    assert first.grad.abs().max() == 0


def test_pairs_run_from_the_stem_through_the_stages():
    student_features = TinyNet((4, 5, 6, 8))(images())
    first, second, third = flow_matrices(student_features)
    torch.testing.assert_close(
        first, flow_matrix(student_features.stem, student_features.stages[0])
    )
    torch.testing.assert_close(
        second, flow_matrix(student_features.stages[0], student_features.stages[1])
    )
    torch.testing.assert_close(
        third, flow_matrix(student_features.stages[1], student_features.stages[2])
    )


def test_teacher_and_student_may_differ_in_size():
    small, large = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images(side=16))
    assert flow_loss(flow_matrices(small), flow_matrices(large)).isfinite()


@pytest.mark.parametrize(
    ("student", "teacher", "reason"),
    [
        ((4, 4, 6, 8), (4, 4, 6, 8), None),
        ((4, 4, 6, 8), (16, 4, 6, 8), "widths differ: student 4-4-6-8, teacher 16-4-6-8"),
        ((4, 4, 6, 8), (4, 4, 6, 9), "widths differ: student 4-4-6-8, teacher 4-4-6-9"),
        ((4, 4, 6), (4, 4, 6, 8), "numbers of stages differ: student 2, teacher 3"),
    ],
)
def test_a_pair_without_matching_maps_is_refused_with_the_reason(
    student: tuple[int, ...], teacher: tuple[int, ...], reason: str | None
):
    shapes = Shapes.of(TinyNet(student)(images())), Shapes.of(TinyNet(teacher)(images()))
    assert FSP.mismatch(FSP.Config(), *shapes) == reason


def test_it_initialises_by_flow_alone_and_then_learns_the_task_alone():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    init, task = FSP(FSP.Config(weight=0.25), shapes, shapes).phases(Budget(240, "inside"))
    assert (init.name, init.epochs, init.lr) == ("init", 30, "constant")
    assert (task.name, task.epochs, task.lr) == ("task", 210, "scheduled")
    assert init.reads_teacher
    assert not task.reads_teacher
    losses = init.loss(student, teacher, batch())
    expected = 0.25 * flow_loss(flow_matrices(student), flow_matrices(teacher))
    torch.testing.assert_close(losses, {"fsp": expected})
    assert list(task.loss(student, teacher, batch())) == ["ce"]


def test_the_crd_preset_averages_weighs_by_one_and_then_learns_the_task_alone():
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 8))(images())
    shapes = Shapes.of(student)
    init, task = FSP(FSP.presets["crd"], shapes, shapes).phases(Budget(240, "extra"))
    assert (init.epochs, init.lr) == (30, "constant")
    assert (task.epochs, task.lr, task.reads_teacher) == (240, "scheduled", False)
    student_features, teacher_features = student.viewed("crd"), teacher.viewed("crd")
    matrices = flow_matrices(student_features, "avg"), flow_matrices(teacher_features, "avg")
    losses = init.loss(student, teacher, batch())
    torch.testing.assert_close(losses, {"fsp": flow_loss(*matrices, "mean")})


REFUSED = [
    *(("weight", 0.0), ("init_share", 1.0)),
]


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        FSP.Config(**{field: value})
