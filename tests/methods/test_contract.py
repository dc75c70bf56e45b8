"""What every method owes the train loop, whatever its paper."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any, NamedTuple, cast

import pytest
import torch
from torch import Tensor

import methods
from methods.interface import Budget, Features, Method, Phase, Shapes
from tests.methods.networks import TinyNet, batch, images

PAIRS = {  # (student widths, student image side), (teacher widths, teacher image side)
    "equal": (((4, 4, 6, 8), 8), ((4, 4, 6, 8), 8)),
    "wider teacher": (((4, 4, 6, 8), 8), ((8, 8, 12, 16), 8)),
    "narrower teacher": (((8, 8, 12, 16), 8), ((4, 4, 6, 8), 8)),
    "larger student maps": (((4, 4, 6, 8), 16), ((4, 4, 6, 8), 8)),
    "smaller student maps": (((4, 4, 6, 8), 8), ((4, 6, 6, 8), 16)),
    "sizes that do not divide": (((4, 4, 6, 8), 12), ((4, 4, 6, 8), 8)),
    "fewer stages": (((4, 6, 8), 8), ((4, 4, 6, 8), 8)),
}
DEFINED_EVERYWHERE = {"scratch", "kd", "fitnets"}


class Scene(NamedTuple):
    """A method between a student and a teacher, and what the teacher shows."""

    method: Method
    student: TinyNet
    side: int
    teacher: Features

    def see(self) -> Features:
        return cast(Features, self.student(images(side=self.side)))


@pytest.fixture(params=methods.names())
def kind(request: pytest.FixtureRequest) -> type[Method]:
    return methods.get(request.param)


@pytest.fixture(params=PAIRS)
def scene(request: pytest.FixtureRequest, kind: type[Method]) -> Scene:
    torch.manual_seed(0)
    (student_widths, side), (teacher_widths, teacher_side) = PAIRS[request.param]
    student, teacher = TinyNet(student_widths), TinyNet(teacher_widths).eval()
    with torch.no_grad():
        shown = teacher(images(side=teacher_side))
    shapes = Shapes.of(student(images(side=side))), Shapes.of(shown)
    config = kind.Config()
    if reason := kind.mismatch(config, *shapes):
        assert request.param != "equal"
        assert kind.name not in DEFINED_EVERYWHERE
        pytest.skip(reason)
    return Scene(kind(config, *shapes), student, side, shown)


def phases_of(method: Method) -> Iterator[tuple[Phase, Any]]:
    """Each phase and the teacher that it is allowed to see."""
    for phase in method.phases(Budget(8, "inside")):
        yield phase, None if phase.reads_teacher else Untouchable()


class Untouchable:
    """Fails on any access: the teacher of a phase that says it does not read it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"a phase with reads_teacher=False read the teacher's {name}")

    def __iter__(self) -> Any:
        raise AssertionError("a phase with reads_teacher=False unpacked the teacher")

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a phase with reads_teacher=False indexed the teacher")


def tensors(features: Features) -> list[Tensor]:
    return [
        features.stem,
        *features.stages,
        *features.preacts,
        features.embedding,
        features.logits,
    ]


def test_a_batch_of_one_has_finite_losses(scene: Scene):
    alone = Features(*(_first(x) for x in scene.teacher))
    for phase, teacher in phases_of(scene.method):
        seen = cast(Features, scene.student(images(1, scene.side)))
        losses = phase.loss(seen, teacher or alone, batch(1))
        assert all(loss.isfinite() for loss in losses.values())


def _first(x: Any) -> Any:
    return x[:1] if isinstance(x, Tensor) else tuple(y[:1] for y in x)


def test_every_phases_losses_are_named_finite_scalars(scene: Scene):
    for phase, teacher in phases_of(scene.method):
        losses = phase.loss(scene.see(), teacher or scene.teacher, batch())
        assert losses
        assert all(loss.shape == () and loss.isfinite() for loss in losses.values())


def test_gradient_reaches_the_student_in_every_phase(scene: Scene):
    for phase, teacher in phases_of(scene.method):
        scene.student.zero_grad()
        torch.autograd.backward(
            tuple(phase.loss(scene.see(), teacher or scene.teacher, batch()).values())
        )
        for name, parameter in scene.student.named_parameters():
            if name.startswith("stem"):
                assert parameter.grad is not None
                assert parameter.grad.isfinite().all()
                assert parameter.grad.abs().sum() > 0


def test_connectors_that_train_at_all_have_a_phase_that_trains_them(scene: Scene):
    for phase, teacher in phases_of(scene.method):
        torch.autograd.backward(
            tuple(phase.loss(scene.see(), teacher or scene.teacher, batch()).values())
        )
    assert all(parameter.grad is not None for parameter in scene.method.parameters())


def test_the_teachers_features_are_neither_changed_nor_given_a_gradient(scene: Scene):
    leaves = [x.clone().requires_grad_() for x in tensors(scene.teacher)]
    before = [x.detach().clone() for x in leaves]
    count = len(scene.teacher.stages)
    seen = Features(
        leaves[0], tuple(leaves[1 : 1 + count]), tuple(leaves[1 + count : -2]), *leaves[-2:]
    )
    detached = Features(
        seen.stem.detach(),
        tuple(x.detach() for x in seen.stages),
        tuple(x.detach() for x in seen.preacts),
        seen.embedding.detach(),
        seen.logits.detach(),
    )
    for phase, teacher in phases_of(scene.method):
        torch.autograd.backward(
            tuple(phase.loss(scene.see(), teacher or detached, batch()).values())
        )
    assert all(leaf.grad is None for leaf in leaves)
    assert all(torch.equal(a, b) for a, b in zip(leaves, before, strict=True))


def test_the_students_features_are_not_changed(scene: Scene):
    for phase, teacher in phases_of(scene.method):
        seen = scene.see()
        before = [x.detach().clone() for x in tensors(seen)]
        phase.loss(seen, teacher or scene.teacher, batch())
        assert all(torch.equal(a, b) for a, b in zip(tensors(seen), before, strict=True))


def test_a_loss_draws_nothing_from_the_global_generator(scene: Scene):
    for phase, teacher in phases_of(scene.method):
        seen, before = scene.see(), torch.get_rng_state()
        phase.loss(seen, teacher or scene.teacher, batch())
        assert torch.equal(torch.get_rng_state(), before)


def test_a_state_dict_goes_round(scene: Scene):
    for parameter in scene.method.parameters():
        torch.nn.init.normal_(parameter)
    shapes = Shapes.of(scene.see()), Shapes.of(scene.teacher)
    again = type(scene.method)(scene.method.config, *shapes)
    again.load_state_dict(scene.method.state_dict())
    states = scene.method.state_dict(), again.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0] | states[1])


@pytest.mark.parametrize("init_epochs", ["inside", "extra"])
@pytest.mark.parametrize("epochs", [1, 2, 20, 240])
def test_phases_spend_the_budget(kind: type[Method], epochs: int, init_epochs: Any):
    shapes = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    phases = kind(kind.Config(), shapes, shapes).phases(Budget(epochs, init_epochs))
    names = [phase.name for phase in phases]
    assert all(phase.epochs >= 1 for phase in phases)
    assert len(set(names)) == len(names)
    assert phases[-1].lr == "scheduled"
    if init_epochs == "inside":
        assert sum(phase.epochs for phase in phases) == max(epochs, len(phases))
    else:
        assert phases[-1].epochs == epochs


def test_a_config_is_a_frozen_dataclass_with_defaults_for_all(kind: type[Method]):
    config = kind.Config()
    assert is_dataclass(kind.Config)
    assert config == kind.Config()
    for field in fields(kind.Config):
        with pytest.raises(FrozenInstanceError):
            setattr(config, field.name, 1)


def test_a_method_says_who_it_is_and_whether_it_needs_a_teacher(kind: type[Method]):
    assert isinstance(kind.version, int)
    assert kind.paper
    assert kind.__doc__
    shapes = Shapes.of(TinyNet((4, 4, 6, 8))(images()))
    phases = kind(kind.Config(), shapes, shapes).phases(Budget(8, "inside"))
    assert kind.needs_teacher == any(phase.reads_teacher for phase in phases)
