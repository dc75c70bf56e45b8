"""SimKD's loss, and that what is deployed really classifies by the teacher's classifier."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from methods.interface import Budget, Features, Shapes
from methods.simkd import Projector, SimKD
from tests.methods.networks import TinyNet, batch, images


def built(
    student: TinyNet, teacher: TinyNet, config: SimKD.Config | None = None, side: int = 8
) -> SimKD:
    shapes = Shapes.of(student(images(side=side))), Shapes.of(teacher(images()))
    return SimKD(config or SimKD.Config(), *shapes, teacher_classifier=teacher.classifier)


def networks(*teacher: int) -> tuple[TinyNet, TinyNet]:
    torch.manual_seed(0)
    return TinyNet((4, 4, 6, 8)), TinyNet(teacher or (4, 4, 6, 12)).eval()


def student_features(network: nn.Module, side: int = 8) -> Features:
    return cast(Features, network(images(side=side)))


def loss_of(method: SimKD, student: Features, teacher: Features) -> dict[str, Tensor]:
    (phase,) = method.phases(Budget(8, "inside"))
    return phase.loss(student, teacher, batch())


def test_the_loss_is_the_mean_squared_difference_and_nothing_else():
    # The projector's last ReLU gives 0 where its norm is set to -1: the teacher's map of 2s is
    # 2^2 = 4 away in every element, and the weight 3 makes 12 of it.
    student, teacher = networks()
    method = built(student, teacher, SimKD.Config(weight=3.0))
    last = cast(nn.BatchNorm2d, method.projector.norms[-1])
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -1.0)
    teacher_features = student_features(teacher)
    twos = torch.full_like(teacher_features.stages[-1], 2.0)
    losses = loss_of(
        method,
        student_features(student),
        teacher_features._replace(stages=(*teacher_features.stages[:-1], twos)),
    )
    assert {name: loss.item() for name, loss in losses.items()} == {"simkd": 12.0}


def test_the_larger_map_is_averaged_to_the_size_of_the_smaller():
    student, teacher = networks(4, 4, 6, 8)
    method = built(student, teacher, side=16)
    method.projector = nn.Identity()  # type: ignore[assignment]
    large, small = student_features(student, 16), student_features(teacher)
    pooled = torch.nn.functional.avg_pool2d(large.stages[-1], 2)
    expected = (pooled - small.stages[-1]).square().mean()
    torch.testing.assert_close(loss_of(method, large, small)["simkd"], expected)
    torch.testing.assert_close(loss_of(method, small, large)["simkd"], expected)


def test_the_projector_narrows_by_the_factor_and_has_bn_and_relu_thrice():
    projector = Projector(6, 10, factor=2).eval()
    shapes = [tuple(weight.shape) for weight in projector.convs.parameters()]
    assert shapes == [(5, 6, 1, 1), (5, 5, 3, 3), (10, 5, 1, 1)]
    x = torch.rand(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    y = x
    for conv, norm in zip(projector.convs, projector.norms, strict=True):
        y = torch.relu(norm(conv(y)))
    torch.testing.assert_close(projector(x), y)


def test_a_single_pixel_in_a_batch_of_one_can_be_projected():
    assert Projector(6, 10, factor=2)(torch.ones(1, 6, 1, 1)).isfinite().all()


def test_a_student_whose_projected_features_are_the_teachers_has_the_teachers_logits():
    _, teacher = networks()
    torch.manual_seed(1)
    student = TinyNet((4, 4, 6, 12)).eval()
    for stage, other in ((student.stem, teacher.stem), (student.stages, teacher.stages)):
        stage.load_state_dict(other.state_dict())
    assert not torch.equal(student.classifier.weight, teacher.classifier.weight)
    method = built(student, teacher)
    method.projector = nn.Identity()  # type: ignore[assignment]
    ours, theirs = student_features(method.deployed(student)), student_features(teacher)
    torch.testing.assert_close(ours.embedding, theirs.embedding)
    torch.testing.assert_close(ours.logits, theirs.logits)
    assert not torch.allclose(student_features(student).logits, theirs.logits)


def test_the_deployed_network_reads_the_teachers_classifier_and_not_the_students():
    student, teacher = networks()
    deployed = built(student, teacher).deployed(student).eval()
    before = student_features(deployed)
    nn.init.normal_(student.classifier.weight)
    assert torch.equal(student_features(deployed).logits, before.logits)
    expected = teacher.classifier(before.embedding)
    torch.testing.assert_close(before.logits, expected)
    assert before.embedding.shape == (4, 12)


@pytest.mark.parametrize("side", [8, 16])
def test_what_is_deployed_is_what_was_trained(side: int):
    student, teacher = networks()
    method = built(student, teacher, side=side).eval()
    deployed = method.deployed(student).eval()
    maps = student_features(student.eval(), side).stages[-1]
    pooled = torch.nn.functional.avg_pool2d(maps, side // 8)
    embedding = method.projector(pooled).mean(dim=(2, 3))
    torch.testing.assert_close(student_features(deployed, side).embedding, embedding)


def test_the_classifier_is_a_frozen_copy_that_training_leaves_alone():
    student, teacher = networks()
    method = built(student, teacher)
    assert method.classifier is not teacher.classifier
    assert not any(p.requires_grad for p in method.classifier.parameters())
    assert teacher.classifier.weight.requires_grad
    before = {key: value.clone() for key, value in teacher.classifier.state_dict().items()}
    parameters = [*student.parameters(), *method.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(
            tuple(loss_of(method, student_features(student), student_features(teacher)).values())
        )
        optimizer.step()
    for kept in (method.classifier, teacher.classifier):
        assert all(torch.equal(value, before[key]) for key, value in kept.state_dict().items())


def test_what_is_saved_holds_student_projector_and_classifier():
    student, teacher = networks()
    deployed = built(student, teacher).deployed(student)
    state = deployed.state_dict()
    assert {key.split(".")[0] for key in state} == {"student", "projector", "classifier"}
    assert torch.equal(state["classifier.weight"], teacher.classifier.weight)
    deployed.eval()
    assert not any(module.training for module in deployed.modules())


def test_a_classifier_that_does_not_read_the_last_stage_is_refused():
    shapes = Shapes.of(student_features(networks()[0]))
    assert SimKD.mismatch(SimKD.Config(), shapes, shapes) is None
    reason = SimKD.mismatch(SimKD.Config(), shapes, shapes._replace(embedding=20))
    assert reason == (
        "the teacher's classifier reads 20 values, not the 8 channels of its last stage"
    )
    assert "factor 9" in (SimKD.mismatch(SimKD.Config(factor=9), shapes, shapes) or "")


@pytest.mark.parametrize(("field", "value"), [("factor", 0), ("weight", 0.0)])
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        SimKD.Config(**{field: value})
