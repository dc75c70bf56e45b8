"""ReviewKD's fusion and context loss against numbers worked out by hand."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn, tensor
from torch.nn import functional as F

from methods.blocks.schedules import warm_up
from methods.interface import Budget, Features, Shapes
from methods.reviewkd import Fusion, ReviewKD, average_pool, context_loss, resize_nearest
from tests.methods.networks import TinyNet, batch, images, noise


def built(**config: float) -> tuple[ReviewKD, Features, Features]:
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 6, 8, 12))(images())
    return (
        ReviewKD(ReviewKD.Config(**config), Shapes.of(student), Shapes.of(teacher)),
        student,
        teacher,
    )


def test_the_context_loss_is_that_of_the_hand():
    # Differences (1, 2; 3, 6): mean square (1 + 4 + 9 + 36) / 4 = 12.5; averaged to 1x1: 3, 9.
    # 4x4 and 2x2 are not smaller than the map. (12.5 + 9 / 2) / (1 + 1/2) = 34/3
    student = tensor([[[[2.0, 3.0], [4.0, 7.0]]]], dtype=torch.float64)
    teacher = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    assert context_loss(student, teacher).item() == pytest.approx(34 / 3, abs=1e-12)


def test_every_level_of_the_pyramid_is_half_as_heavy_as_the_one_before():
    # A constant difference of 2 is 4 at every level, whatever the weights; a checkerboard of +-1
    # is 1 on the map and 0 on 4x4, 2x2, 1x1: 1 / (1 + 1/2 + 1/4 + 1/8) = 8/15
    board = (-1.0) ** (torch.arange(8)[:, None] + torch.arange(8)).expand(1, 1, 8, 8)
    assert context_loss(board, torch.zeros(1, 1, 8, 8)).item() == pytest.approx(8 / 15)
    blocks = (-1.0) ** (torch.arange(8)[:, None] // 2 + torch.arange(8) // 2).expand(1, 1, 8, 8)
    # Blocks of 2x2 survive the averaging to 4x4: (1 + 1/2) / (15/8) = 4/5
    assert context_loss(blocks, torch.zeros(1, 1, 8, 8)).item() == pytest.approx(4 / 5)


def test_a_map_of_one_position_is_compared_as_it_is():
    assert context_loss(torch.full((2, 3, 1, 1), 3.0), torch.zeros(2, 3, 1, 1)).item() == 9


def test_averaging_has_the_windows_of_the_adaptive_pooling():
    for size in ((8, 8), (7, 9)):
        x = noise(2, 3, *size)
        for side in (1, 2, 4):
            torch.testing.assert_close(average_pool(x, side), F.adaptive_avg_pool2d(x, side))


def test_the_gradient_agrees_with_finite_differences():
    teacher = noise(1, 2, 5, 5, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: context_loss(student, teacher), noise(1, 2, 5, 5, grad=True)
    )


def test_a_fusion_weighs_both_maps_at_every_position():
    # Identity convolutions, BN in eval mode at (0, 1); the first gate is sigmoid(x), the second
    # sigmoid(0) = 1/2. At x = log 3 and deeper 4: 3/4 log 3 + 1/2 * 4
    fusion = Fusion(1, 1, 1, fuses=True).double().eval()
    with torch.no_grad():
        next(fusion.enter.parameters()).fill_(1)
        weight, bias = cast(nn.Sequential, fusion.attend).parameters()
        weight.copy_(tensor([[1.0, 0.0], [0.0, 0.0]])[:, :, None, None])
        bias.zero_()
    x = torch.full((1, 1, 2, 2), 3.0, dtype=torch.float64).log()
    deeper = torch.full((1, 1, 1, 1), 4.0, dtype=torch.float64)
    _, fused = fusion(x, deeper, (4, 4))
    expected = torch.full((1, 1, 4, 4), 0.75 * float(x[0, 0, 0, 0]) + 2, dtype=torch.float64)
    torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-4)  # BN's epsilon


def test_the_deepest_level_reaches_the_first_stage():
    method, student, teacher = built()
    (phase,) = method.phases(Budget(8, "inside"))
    embedding = student.embedding.detach().requires_grad_()
    maps = [*(s.detach() for s in student.stages), embedding[:, :, None, None]]
    sizes = [(t.shape[2], t.shape[3]) for t in teacher.preacts] + [(1, 1)]
    first, *_ = method.review(maps, sizes)
    (gradient,) = torch.autograd.grad(first.square().sum(), embedding)
    assert gradient.abs().sum() > 0
    assert first.shape == teacher.preacts[0].shape
    assert phase.epochs == 8


def test_the_teacher_is_read_before_its_activation_and_the_student_behind_it():
    method, student, teacher = built()
    (phase,) = method.phases(Budget(8, "inside"))

    def nothing(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(torch.full_like(x, torch.nan) for x in maps)

    student = student._replace(preacts=nothing(student.preacts))
    teacher = teacher._replace(stages=nothing(teacher.stages), logits=teacher.logits * torch.nan)
    assert all(loss.isfinite() for loss in phase.loss(student, teacher, batch()).values())


def test_the_weight_rises_over_the_first_twelfth():
    method, student, teacher = built(weight=5.0)
    (phase,) = method.phases(Budget(240, "inside"))
    method.eval()  # so that BN's statistics do not move between the calls
    full = phase.loss(student, teacher, batch(progress=0.5))["reviewkd"]
    assert phase.loss(student, teacher, batch(progress=0.0))["reviewkd"] == 0
    torch.testing.assert_close(
        phase.loss(student, teacher, batch(progress=1 / 24)),
        {
            "ce": F.cross_entropy(student.logits, batch().labels),
            "reviewkd": full / 2,
        },
    )
    assert warm_up(tensor(1 / 12), 1 / 12) == 1
    assert warm_up(tensor(0.0), 0.0) == 1


def test_zeros_give_a_finite_loss_and_gradient():
    method, student, teacher = built()
    (phase,) = method.phases(Budget(8, "inside"))
    zeros = [torch.zeros_like(s, requires_grad=True) for s in student.stages]
    blank = student._replace(stages=tuple(zeros), embedding=torch.zeros_like(student.embedding))
    loss = phase.loss(blank, teacher, batch())["reviewkd"]
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert all(zero.grad is not None and zero.grad.isfinite().all() for zero in zeros)


def test_nearest_leaves_a_map_of_that_size_alone():
    x = noise(1, 1, 2, 2)
    assert resize_nearest(x, (2, 2)) is x
    assert resize_nearest(x, (4, 4))[0, 0].tolist()[0] == [x[0, 0, 0, 0]] * 2 + [x[0, 0, 0, 1]] * 2


@pytest.mark.parametrize(("field", "value"), [("weight", -1.0), ("warmup_share", 1.1)])
def test_a_value_that_cannot_be_is_refused(field: str, value: float):
    with pytest.raises(ValueError, match=field):
        ReviewKD.Config(**{field: value})
