"""SemCKD's loss and attention against numbers worked out by hand."""

from typing import cast

import pytest
import torch
from torch import nn, tensor
from torch.nn import functional as F

from methods.interface import Budget, Features, Shapes
from methods.kd import kl_divergence
from methods.semckd import SemCKD, batch_similarities, calibrated_loss, translator
from tests.methods.networks import TinyNet, batch, images, noise


def built(batch_size: int = 8, size: int = 8) -> tuple[SemCKD, Features, Features]:
    student, teacher = TinyNet((4, 4, 6))(images(size)), TinyNet((4, 6, 8, 12))(images(size))
    shapes = Shapes.of(student), Shapes.of(teacher)
    method = SemCKD(SemCKD.Config(), *shapes, batch_size)
    return method, student, teacher


def test_the_loss_is_that_of_the_hand():
    # Two student stages, two teacher stages, one sample:
    #   1/4 * 8 + 3/4 * 4 = 5 for the first, 1/2 * 2 + 1/2 * 0 = 1 for the second: mean 3.
    # A second sample with distances of 0: mean over the batch 3/2
    distances = tensor([[[8.0, 4.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    attention = tensor([[[0.25, 0.75], [0.5, 0.5]]]).expand(2, 2, 2)
    assert calibrated_loss(distances, attention).item() == 1.5


def test_similarities_are_inner_products_and_zeros_stand_for_what_a_short_batch_lacks():
    # (1, 2) . (1, 2) = 5, (1, 2) . (3, 0) = 3, (3, 0) . (3, 0) = 9
    x = tensor([[1.0, 2.0], [3.0, 0.0]]).reshape(2, 1, 1, 2)
    assert batch_similarities(x, 2).tolist() == [[5, 3], [3, 9]]
    assert batch_similarities(x, 4).tolist() == [[5, 3, 0, 0], [3, 9, 0, 0]]


def test_a_batch_larger_than_the_embeddings_is_refused():
    method, student, teacher = built(batch_size=4, size=8)
    with pytest.raises(RuntimeError):
        method.attention(student.stages, teacher.stages)


def test_attention_is_a_softmax_over_the_teachers_stages_of_cosines():
    method, student, teacher = built()
    attention = method.attention(student.stages, teacher.stages)
    assert attention.shape == (8, 2, 3)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(8, 2))
    query = method.queries[1](batch_similarities(student.stages[1], 8))
    cosines = [
        F.cosine_similarity(query, key(batch_similarities(t, 8)))
        for key, t in zip(method.keys, teacher.stages, strict=True)
    ]
    torch.testing.assert_close(attention[:, 1], torch.stack(cosines, dim=1).softmax(dim=1))


def test_a_distance_is_the_mean_square_of_one_sample_at_the_smaller_size():
    method, student, teacher = built()
    method.eval()
    distances = method.distances(student.stages, teacher.stages)
    assert distances.shape == (8, 2, 3)
    translate = cast(nn.ModuleList, method.translators[0])[
        2
    ]  # the student's 8x8 against the teacher's 2x2
    predicted = translate(F.avg_pool2d(student.stages[0], 4))
    expected = (predicted - teacher.stages[2]).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(distances[:, 0, 2], expected)
    translate = cast(nn.ModuleList, method.translators[1])[0]  # 4x4 against 8x8
    predicted = translate(student.stages[1])
    expected = (predicted - F.avg_pool2d(teacher.stages[0], 2)).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(distances[:, 1, 0], expected)


def test_the_gradient_agrees_with_finite_differences():
    torch.manual_seed(0)
    shapes = Shapes((2, 2, 2), ((2, 2, 2), (3, 1, 1)), 3, 4)
    method = SemCKD(SemCKD.Config(), shapes, shapes, 5).double().eval()
    teacher = [noise(3, 2, 2, 2, seed=2), noise(3, 3, 1, 1, seed=3)]

    def loss(*student: torch.Tensor) -> torch.Tensor:
        distances = method.distances(student, teacher)
        return calibrated_loss(distances, method.attention(student, teacher))

    student = noise(3, 2, 2, 2, grad=True), noise(3, 3, 1, 1, seed=1, grad=True)
    assert torch.autograd.gradcheck(loss, student)


def test_the_weights_are_those_of_the_authors_script():
    method, student, teacher = built()
    method.eval()
    (phase,) = method.phases(Budget(8, "inside"))
    attention = method.attention(student.stages, teacher.stages)
    loss = calibrated_loss(method.distances(student.stages, teacher.stages), attention)
    expected = {
        "ce": F.cross_entropy(student.logits, batch(8).labels),
        "kd": 16 * kl_divergence(student.logits, teacher.logits, 4.0),
        "semckd": 400 * loss,
    }
    torch.testing.assert_close(phase.loss(student, teacher, batch(8)), expected)
    assert phase.epochs == 8


def test_zeros_give_a_finite_loss_and_gradient():
    method, student, teacher = built()
    (phase,) = method.phases(Budget(8, "inside"))
    zeros = tuple(torch.zeros_like(s, requires_grad=True) for s in student.stages)
    blank = teacher._replace(stages=tuple(torch.zeros_like(t) for t in teacher.stages))
    loss = phase.loss(student._replace(stages=zeros), blank, batch(8))["semckd"]
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert all(zero.grad is not None and zero.grad.isfinite().all() for zero in zeros)


def test_one_sample_of_one_position_has_a_finite_loss_in_training():
    shapes = Shapes((2, 1, 1), ((2, 1, 1),), 2, 4)
    method = SemCKD(SemCKD.Config(), shapes, shapes, 8).train()
    x = [torch.randn(1, 2, 1, 1)]
    assert method.distances(x, x).isfinite().all()
    assert method.attention(x, x).tolist() == [[[1.0]]]


def test_a_translator_is_twice_as_wide_as_the_teacher_and_without_biases():
    convolutions = [m for m in translator(4, 6).children() if isinstance(m, nn.Conv2d)]
    shapes = [tuple(c.weight.shape) for c in convolutions]
    assert shapes == [(12, 4, 1, 1), (12, 12, 3, 3), (6, 12, 1, 1)]
    assert all(c.bias is None for c in convolutions)


@pytest.mark.parametrize(
    ("field", "value"), [("weight", -1.0), ("kd_weight", -1.0), ("temperature", 0.0)]
)
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        SemCKD.Config(**{field: value})
