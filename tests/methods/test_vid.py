"""VID's likelihood against numbers worked out by hand, and its variances, which must move."""

from math import log, log1p
from typing import Any, cast

import pytest
import torch
from torch import nn, tensor

from methods.interface import Budget, Features, Shapes
from methods.vid import VID, Observation, gaussian_nll
from tests.methods.networks import TinyNet, batch, images, noise


def test_the_likelihood_is_that_of_the_hand():
    # Channel 0, variance 4: (1 - 3)^2 / 4 + log 4 = 1 + log 4 and (0 - 0)^2 / 4 + log 4 = log 4.
    # Channel 1, variance 1/2: 2 (2 - 1)^2 - log 2 = 2 - log 2 and 2 (0 + 2)^2 - log 2 = 8 - log 2.
    # Half the mean of the four: (11 + 2 log 4 - 2 log 2) / 8 = (11 + 2 log 2) / 8
    teacher = tensor([[[[1.0, 0.0]], [[2.0, 0.0]]]], dtype=torch.float64)
    mean = tensor([[[[3.0, 0.0]], [[1.0, -2.0]]]], dtype=torch.float64)
    variance = tensor([4.0, 0.5], dtype=torch.float64)
    expected = (11 + 2 * log(2)) / 8
    assert gaussian_nll(mean, variance, teacher).item() == pytest.approx(expected, abs=1e-12)


def test_it_is_the_logarithm_of_the_normal_density_but_for_a_constant():
    mean, teacher, variance = noise(2, 3, 4, 4), noise(2, 3, 4, 4, seed=1), noise(3, seed=2).exp()
    std = variance.sqrt().view(1, 3, 1, 1)
    density = torch.exp(-0.5 * ((teacher - mean) / std) ** 2) / std
    expected = -density.log().mean()
    torch.testing.assert_close(gaussian_nll(mean, variance, teacher), expected)


def test_the_gradient_agrees_with_finite_differences_also_in_the_variance():
    teacher, alpha = noise(2, 3, 2, 2, seed=1), noise(3, seed=2, grad=True)
    assert torch.autograd.gradcheck(
        lambda mean, alpha: gaussian_nll(mean, nn.functional.softplus(alpha), teacher),
        (noise(2, 3, 2, 2, grad=True), alpha),
    )


def test_variances_start_at_five_a_channel_and_are_softplus_of_a_parameter():
    _, variance = Observation(2, 3, 5.0, 1e-5)(torch.zeros(1, 2, 1, 1))
    assert variance.tolist() == pytest.approx([5.0] * 3)
    observe = Observation(2, 1, 5.0, 1e-5)
    nn.init.zeros_(observe.alpha)  # log(1 + e^0) + epsilon
    assert observe(torch.zeros(1, 2, 1, 1))[1].item() == pytest.approx(log1p(1) + 1e-5)


def test_a_regressor_is_three_pointwise_convolutions_with_relus_between():
    layers = list(Observation(2, 3, 5.0, 1e-5).regressor)
    kinds = [type(layer) for layer in layers]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d]
    weights = [cast(nn.Conv2d, layer).weight.shape for layer in layers[::2]]
    assert weights == [(3, 2, 1, 1), (3, 3, 1, 1), (3, 3, 1, 1)]
    assert all(cast(nn.Conv2d, layer).bias is None for layer in layers[::2])


def between(student: TinyNet, teacher: TinyNet) -> tuple[VID, Features]:
    teacher_features = teacher(images())
    return VID(
        VID.Config(), Shapes.of(student(images())), Shapes.of(teacher_features)
    ), teacher_features


def test_every_variance_gets_a_gradient_in_every_stage():
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((8, 8, 12, 16))
    method, teacher_features = between(student, teacher.eval())
    (phase,) = method.phases(Budget(8, "inside"))
    alphas = {name: p for name, p in method.named_parameters() if name.endswith("alpha")}
    torch.autograd.backward(phase.loss(student(images()), teacher_features, batch())["vid"])
    assert [alpha.shape for alpha in alphas.values()] == [(8,), (12,), (16,)]
    assert all(p.grad is not None and (p.grad != 0).all() for p in alphas.values())


def test_a_trained_variance_becomes_that_of_the_error():
    # The regressor is 0 here, the teacher +-0.5: the likeliest variance is 0.25.
    observe = Observation(1, 1, 5.0, 1e-5)
    for weight in observe.regressor.parameters():
        nn.init.zeros_(weight)
    teacher = tensor([-0.5, 0.5]).view(2, 1, 1, 1)
    for _ in range(100):
        mean, variance = observe(teacher)
        (slope,) = torch.autograd.grad(gaussian_nll(mean, variance, teacher), [observe.alpha])
        observe.alpha.data -= 2 * slope
    assert variance.item() == pytest.approx(0.25, rel=0.01)


def test_the_terms_are_cross_entropy_and_the_stages_sum():
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((8, 8, 12, 16))
    method, teacher_features = between(student, teacher)
    (phase,) = method.phases(Budget(240, "extra"))
    assert (phase.epochs, phase.lr) == (240, "scheduled")
    student_features, halves = student(images()), VID.Config(weight=0.5)
    losses = phase.loss(student_features, teacher_features, batch())
    expected = torch.zeros(())
    for observe, s, t in zip(
        method.observations, student_features.stages, teacher_features.stages, strict=True
    ):
        mean, variance = observe(s)
        expected = expected + gaussian_nll(mean, variance, t)
    torch.testing.assert_close(losses["vid"], expected)
    torch.testing.assert_close(
        losses["ce"], nn.functional.cross_entropy(student_features.logits, batch().labels)
    )
    method.config = halves
    torch.testing.assert_close(
        phase.loss(student_features, teacher_features, batch())["vid"], 0.5 * expected
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("weight", 0.0), ("variance", 0.0), ("least_variance", 0.0)],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        VID.Config(**{field: value})
