"""MGD's loss and masks against numbers worked out by hand."""

from typing import Any

import pytest
import torch
from torch import nn, tensor
from torch.nn import functional as F

from methods.blocks.draws import Draws
from methods.interface import Budget, Features, Shapes
from methods.mgd import MGD, draw_mask, generation_loss, generator
from tests.methods.networks import TinyNet, batch, images, noise


def built(widths: tuple[int, ...] = (4, 6, 8, 12), **config: Any) -> tuple[MGD, Features, Features]:
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet(widths)(images())
    return MGD(MGD.Config(**config), Shapes.of(student), Shapes.of(teacher)), student, teacher


def test_the_loss_is_that_of_the_hand():
    # Squares 1 + 4 + 0 + 9 = 14 over channels and positions, two samples: 7
    generated = tensor([[1.0, 2.0], [3.0, 0.0]]).reshape(2, 2, 1, 1)
    teacher = tensor([[0.0, 0.0], [3.0, 3.0]]).reshape(2, 2, 1, 1)
    assert generation_loss(generated, teacher).item() == 7


def test_the_gradient_agrees_with_finite_differences():
    torch.manual_seed(0)
    make, teacher = generator(2).double(), noise(2, 2, 3, 3, seed=1)
    mask = tensor([[1.0, 0.0], [1.0, 1.0]])[:, :, None, None]
    assert torch.autograd.gradcheck(
        lambda student: generation_loss(make(student * mask), teacher), noise(2, 2, 3, 3, grad=True)
    )


@pytest.mark.parametrize(
    ("masked", "shape"), [("channels", (50, 40, 1, 1)), ("positions", (50, 1, 5, 8))]
)
def test_the_ratio_is_what_is_masked(masked: Any, shape: tuple[int, ...]):
    torch.manual_seed(0)
    mask = draw_mask(Draws(), torch.zeros(50, 40, 5, 8), 0.15, masked)
    assert mask.shape == shape
    assert ((mask == 0) | (mask == 1)).all()
    # 2000 draws: 0.15 with a standard deviation of 0.008
    assert 1 - mask.mean().item() == pytest.approx(0.15, abs=0.03)


def test_nothing_is_masked_at_a_ratio_of_nought_and_masks_change_from_step_to_step():
    torch.manual_seed(0)
    draws, x = Draws(), torch.zeros(4, 16, 2, 2)
    assert draw_mask(draws, x, 0.0, "channels").all()
    masks = [draw_mask(draws, x, 0.5, "channels") for _ in range(2)]
    assert not torch.equal(*masks)


def test_a_masked_channel_gets_no_gradient_from_the_teacher():
    method, student, teacher = built(widths=(4, 4, 6, 8), ratio=0.5)
    again = Draws()
    again.load_state_dict(method.draws.state_dict())
    (phase,) = method.phases(Budget(8, "inside"))
    last = student.stages[-1].detach().requires_grad_()
    student_features = student._replace(stages=(*student.stages[:-1], last))
    torch.autograd.backward(phase.loss(student_features, teacher, batch())["mgd"])
    mask = draw_mask(again, last, 0.5, "channels")
    assert last.grad is not None
    assert torch.equal(last.grad.abs().sum(dim=(2, 3), keepdim=True) > 0, mask > 0)


def test_the_weight_is_that_of_a_sum_over_the_last_map():
    method, student, teacher = built(ratio=0.0)
    (phase,) = method.phases(Budget(8, "inside"))
    assert phase.epochs == 8
    made = method.generator(method.connector(student.stages[-1]))
    torch.testing.assert_close(
        phase.loss(student, teacher, batch()),
        {
            "ce": F.cross_entropy(student.logits, batch().labels),
            "mgd": 7e-5 * (made - teacher.stages[-1]).square().sum() / 4,
        },
    )


def test_there_is_a_connector_only_where_the_widths_differ():
    assert isinstance(built(widths=(4, 4, 6, 8))[0].connector, nn.Identity)
    connector = built()[0].connector
    assert isinstance(connector, nn.Conv2d)
    assert connector.weight.shape == (12, 8, 1, 1)
    assert connector.bias is not None


@pytest.mark.parametrize(("field", "value"), [("weight", -1.0), ("ratio", 1.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        MGD.Config(**{field: value})
