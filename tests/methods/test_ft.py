"""FT's distances against numbers worked out by hand, and a paraphraser that rests in its turn."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn, tensor

from methods.ft import FT, channel_energies, decoder, encoder, factor_loss, reconstruction_loss
from methods.interface import Budget, Features, Phase, Shapes
from tests.methods.networks import TinyNet, batch, images, noise


@pytest.mark.parametrize(("p", "expected"), [(1, 0.1), (2, 0.02)])
def test_the_factors_distance_is_that_of_the_hand(p: int, expected: float):
    # Factors of length 1: student (3, 4) -> (.6, .8), teacher (8, 6) -> (.8, .6). p = 1: mean of
    # (.2, .2), p = 2: of (.04, .04). The second sample's factors agree: the mean is half of it.
    student = tensor([[3.0, 4.0], [2.0, 0.0]], dtype=torch.float64).view(2, 2, 1, 1)
    teacher = tensor([[8.0, 6.0], [1.0, 0.0]], dtype=torch.float64).view(2, 2, 1, 1)
    assert factor_loss(student, teacher, p).item() == pytest.approx(expected, abs=1e-12)


def test_the_reconstructions_distance_is_that_of_the_hand():
    # Squared distance 1 + 4 + 0 + 6 = 11 in maps of square 4 + 0 + 9 + 9 = 22
    paraphrased, maps = tensor([[1.0, 2.0, 3.0, 3 - 6**0.5]]), tensor([[2.0, 0.0, 3.0, 3.0]])
    assert reconstruction_loss(paraphrased, maps).item() == pytest.approx(0.5)


def test_the_reconstructions_gradient_does_not_grow_with_the_teachers_features():
    method, _, teacher_features = between(FT.Config())
    for bias in (p for p in method.parameters() if p.dim() == 1):
        nn.init.zeros_(bias)  # without them the networks commute with a positive scale
    weight = cast(nn.Conv2d, method.encoder[0]).weight
    slopes: list[Tensor] = []
    for scale in (1.0, 100.0):
        maps = scale * teacher_features.stages[-1]
        loss = reconstruction_loss(method.decoder(method.encoder(maps)), maps)
        slopes += torch.autograd.grad(loss, [weight])
    torch.testing.assert_close(slopes[0], slopes[1])


def test_maps_of_zeros_give_a_finite_reconstruction_loss():
    paraphrased = torch.ones(1, 2, 1, 1, requires_grad=True)
    loss = reconstruction_loss(paraphrased, torch.zeros(1, 2, 1, 1))
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert paraphrased.grad is not None
    assert paraphrased.grad.isfinite().all()


@pytest.mark.parametrize("p", [1, 2])
def test_the_gradient_agrees_with_finite_differences(p: int):
    teacher = noise(2, 3, 2, 2, seed=1)
    assert torch.autograd.gradcheck(
        lambda student: factor_loss(student, teacher, p), noise(2, 3, 2, 2, grad=True)
    )


def test_the_scale_of_factors_does_not_matter():
    student, teacher = noise(2, 3, 2, 2), noise(2, 3, 2, 2, seed=1)
    scaled = factor_loss(7 * student, 0.1 * teacher, 1)
    torch.testing.assert_close(scaled, factor_loss(student, teacher, 1))


def test_a_paraphraser_narrows_by_the_rate_and_widens_again():
    assert [p.shape[:2] for p in encoder(8, 4).parameters() if p.dim() == 4] == [
        (8, 8),
        (4, 8),
        (4, 4),
    ]
    assert decoder(4, 8)(encoder(8, 4)(torch.zeros(1, 8, 3, 3))).shape == (1, 8, 3, 3)
    kinds = [type(layer) for layer in (*encoder(8, 4), *decoder(4, 8))]
    conv, deconv, leaky = nn.Conv2d, nn.ConvTranspose2d, nn.LeakyReLU
    assert kinds == [conv, leaky] * 3 + [deconv, leaky] * 3
    assert {cast(nn.LeakyReLU, layer).negative_slope for layer in encoder(8, 4)[1::2]} == {0.1}


@pytest.mark.parametrize(("rate", "factors"), [(0.5, 8), (0.75, 12), (2.0, 32), (0.01, 1)])
def test_the_rate_counts_the_teachers_channels(rate: float, factors: int):
    method, _, _ = between(FT.Config(rate=rate))
    shapes = [parts[4].weight.shape for parts in (method.encoder, method.translator)]
    assert shapes == [(factors, factors, 3, 3)] * 2


def between(config: FT.Config) -> tuple[FT, TinyNet, Features]:
    torch.manual_seed(0)
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((8, 8, 12, 16)).eval()
    with torch.no_grad():
        teacher_features = teacher(images())
    return (
        FT(config, Shapes.of(student(images())), Shapes.of(teacher_features)),
        student,
        teacher_features,
    )


def reached(method: FT, student: TinyNet, teacher_features: Features, phase: Phase) -> set[str]:
    """The parts of the method that one step would move: those whose gradient is not None."""
    method.zero_grad(set_to_none=True)
    student_features = student(images()) if phase.reads_student else cast(Features, None)
    torch.autograd.backward(tuple(phase.loss(student_features, teacher_features, batch()).values()))
    return {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}


def test_each_phase_reaches_its_own_parts_and_no_others():
    method, student, teacher_features = between(FT.Config())
    paraphrase, distill = method.phases(Budget(8, "inside"))
    assert reached(method, student, teacher_features, paraphrase) == {"encoder", "decoder"}
    assert student.classifier.weight.grad is None
    assert reached(method, student, teacher_features, distill) == {"translator"}


def test_there_is_no_batch_norm_whose_statistics_could_drift():
    method, _, _ = between(FT.Config())
    assert not list(method.buffers())


def test_the_phases_are_those_of_the_paper():
    method, student, teacher_features = between(FT.Config())
    paraphrase, distill = method.phases(Budget(240, "extra"))
    assert (paraphrase.name, paraphrase.epochs, paraphrase.lr) == ("paraphrase", 30, "constant")
    assert not paraphrase.reads_student
    assert (distill.name, distill.epochs, distill.lr) == ("distill", 240, "scheduled")
    student_features, last = student(images()), teacher_features.stages[-1]
    losses = paraphrase.loss(cast(Features, None), teacher_features, batch())
    rebuilt = method.decoder(method.encoder(last))
    torch.testing.assert_close(losses, {"paraphrase": reconstruction_loss(rebuilt, last)})
    losses = distill.loss(student_features, teacher_features, batch())
    factors = method.translator(student_features.stages[-1]), method.encoder(last)
    ce = nn.functional.cross_entropy(student_features.logits, batch().labels)
    torch.testing.assert_close(losses, {"ce": ce, "ft": 500 * factor_loss(*factors, 1)})


def test_the_crd_preset_compares_energies_over_channels():
    method, student, teacher_features = between(FT.presets["crd"])
    s, t = student(images()).crd[-1], teacher_features.crd[-1]
    losses = method.phases(Budget(8, "inside"))[1].loss(
        student(images()), teacher_features, batch()
    )
    energies = [x.square().mean(dim=1) for x in (method.translator(s), method.encoder(t))]
    a, b = (nn.functional.normalize(x.flatten(1)) for x in energies)
    assert losses["ft"].item() == pytest.approx(200 * (a - b).abs().mean().item(), rel=1e-5)


def test_the_crd_presets_first_phase_has_the_mean_square_at_a_rate_of_its_own():
    method, _, teacher_features = between(FT.presets["crd"])
    paraphrase, distill = method.phases(Budget(240, "extra"))
    assert (paraphrase.epochs, paraphrase.lr) == (30, 0.01)
    assert (distill.epochs, distill.lr) == (240, "scheduled")
    maps = teacher_features.crd[-1]
    rebuilt = method.decoder(method.encoder(maps))
    losses = paraphrase.loss(cast(Features, None), teacher_features, batch())
    torch.testing.assert_close(losses, {"paraphrase": nn.functional.mse_loss(rebuilt, maps)})


def test_the_crd_presets_own_rate_is_for_students_of_three_stages_alone():
    student, teacher = (TinyNet((4, 4, 6, 8, 8))(images(side=16)) for _ in range(2))
    method = FT(FT.presets["crd"], Shapes.of(student), Shapes.of(teacher))
    assert method.phases(Budget(240, "extra"))[0].lr == "constant"


def test_the_crd_presets_translator_has_batch_norms_and_its_paraphraser_has_none():
    method, _, _ = between(FT.presets["crd"])
    assert {name.split(".")[0] for name, _ in method.named_buffers()} == {"translator"}
    assert len(method.translator) == 9


@pytest.mark.parametrize("field", ["rate", "beta", "p", "init_share", "init_lr"])
def test_a_value_that_cannot_be_is_refused(field: str):
    values: dict[str, Any] = {field: 0}
    with pytest.raises(ValueError, match=field):
        FT.Config(**values)


def test_energies_are_the_mean_square_over_channels():
    factor = tensor([[[[3.0, 1.0]], [[4.0, 0.0]]]])  # channels (3, 1) and (4, 0) of two positions
    assert channel_energies(factor).tolist() == [[[[12.5, 0.5]]]]
