"""What the train loop requires of every method."""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple, cast

import pytest
import torch
from torch import Tensor

import methods
from methods.interface import Budget, Features, Method, Paper, Phase, Shapes
from tests.methods.every_method import DEFINED_EVERYWHERE, PAIRS, SPECS, config_of, spec, tensors
from tests.methods.networks import TinyNet, batch, given, images, map_tensors

__all__ = ["spec"]  # the fixture

# What is left of a term where student and teacher are the same network, in eval mode: nothing,
# unless the paper's loss has its least value elsewhere or a connector of random weights stands
# between them.
STAYS = {
    # A cross-entropy: the teacher's entropy stays. The preset crd has a regressor for equal shapes.
    "fitnets": {"kd", "hint"},
    "ab": {"ab"},  # pushes every unit beyond the margin
    "crd": {"crd"},  # two heads of random weights, and memories of random vectors
    "simkd": {"simkd"},  # a projector of random weights
    "srd": {"srd"},  # a projector of random weights
    "nkd": {"nkd_target", "nkd_others"},  # cross-entropies: the teacher's entropy stays
    "wttm": {"wttm"},  # a student without temperature is to be as smooth as a softened teacher
    "reviewkd": {"reviewkd"},  # random convolutions fuse the maps
    "semckd": {"semckd"},  # random translators
    "mgd": {"mgd"},  # a random generator, and a mask
    "vid": {"vid"},  # a regressor of random weights, and the logarithm of a variance
    "ft": {"ft"},  # a paraphraser and a translator of different random weights
    "ofd": {"ofd"},  # a connector of random weights
    "cc": {"neighbours"},  # of cc@crd alone: compares by way of two random maps
    "dist": {"inter", "intra"},  # the authors' 1e-8 beside lengths keeps correlations below 1
}


class Scene(NamedTuple):
    """A method, its student, and the teacher with its features."""

    method: Method
    student: TinyNet
    side: int
    teacher: Features
    network: TinyNet

    def see(self) -> Features:
        return cast(Features, self.student(images(side=self.side)))

    def losses(
        self,
        phase: Phase,
        student_features: Features | None = None,
        teacher_features: Features | None = None,
    ) -> dict[str, Tensor]:
        """The losses of one batch. What the phase declares as not read raises on access."""
        student: Any = (
            (student_features or self.see()) if phase.reads_student else Untouchable("student")
        )
        teacher: Any = (
            (teacher_features or self.teacher) if phase.reads_teacher else Untouchable("teacher")
        )
        return phase.loss(student, teacher, batch())

    def phases(self) -> list[Phase]:
        return list(self.method.phases(Budget(8, "inside")))


@cache
def networks(pair: str) -> tuple[TinyNet, TinyNet, Features]:
    """A student, a teacher and its features, shared by all tests: no method may change them."""
    torch.manual_seed(0)
    (student_widths, _), (teacher_widths, side) = PAIRS[pair]
    student, teacher = TinyNet(student_widths), TinyNet(teacher_widths).eval()
    with torch.no_grad():
        return student, teacher, teacher(images(side=side))


def staged(spec: methods.Spec, pair: str) -> Scene | None:
    """Build a method between two networks; None where it does not apply to them."""
    (_, side), _ = PAIRS[pair]
    student, teacher, teacher_features = networks(pair)
    student.zero_grad()
    shapes = Shapes.of(student(images(side=side))), Shapes.of(teacher_features)
    config, kind = config_of(spec), spec.kind
    if kind.mismatch(config, *shapes):
        assert pair != "equal"
        assert kind.name not in DEFINED_EVERYWHERE
        return None
    torch.manual_seed(0)
    return Scene(
        kind.build(config, *shapes, given(teacher)), student, side, teacher_features, teacher
    )


def in_every_scene(test: Callable[[Scene], None]) -> Callable[[methods.Spec], None]:
    """Run a test of a method on all pairs of networks that it applies to."""

    def everywhere(spec: methods.Spec) -> None:
        for pair in PAIRS:
            if scene := staged(spec, pair):
                try:
                    test(scene)
                except BaseException as error:
                    error.add_note(f"pair: {pair}")
                    raise

    everywhere.__name__ = test.__name__
    return everywhere


def viewing(text: str) -> str | None:
    """The view that a specification's losses read; None if the method has no such parameter."""
    return methods.parse(text).defaults.get("view")


class Untouchable:
    """Fails on any access: the network that a phase says it does not read."""

    def __init__(self, who: str) -> None:
        self.__dict__["who"] = who

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a phase with reads_{self.who}=False read the {self.who}'s {name}")

    def __iter__(self) -> Any:
        raise AssertionError(f"a phase with reads_{self.who}=False unpacked the {self.who}")

    def __getitem__(self, index: int) -> Any:
        raise AssertionError(f"a phase with reads_{self.who}=False indexed the {self.who}")


@in_every_scene
def test_a_batch_of_one_has_finite_losses(scene: Scene):
    alone = map_tensors(scene.teacher, lambda x: x[:1])
    for phase in scene.phases():
        student_features: Any = (
            scene.student(images(1, scene.side)) if phase.reads_student else None
        )
        losses = phase.loss(
            student_features, alone if phase.reads_teacher else cast(Any, None), batch(1)
        )
        assert all(loss.isfinite() for loss in losses.values())


@in_every_scene
def test_every_phases_losses_are_named_finite_scalars(scene: Scene):
    for phase in scene.phases():
        losses = scene.losses(phase)
        assert losses
        assert all(loss.shape == () and loss.isfinite() for loss in losses.values())


@in_every_scene
def test_gradient_reaches_the_student_in_every_phase_that_reads_it(scene: Scene):
    for phase in (phase for phase in scene.phases() if phase.trains):
        scene.student.zero_grad()
        torch.autograd.backward(tuple(scene.losses(phase).values()))
        for name, parameter in scene.student.named_parameters():
            if name.startswith("stem") and phase.reads_student:
                assert parameter.grad is not None
                assert parameter.grad.isfinite().all()
                assert parameter.grad.abs().sum() > 0


@in_every_scene
def test_connectors_that_train_at_all_have_a_phase_that_trains_them(scene: Scene):
    for phase in (phase for phase in scene.phases() if phase.trains):
        torch.autograd.backward(tuple(scene.losses(phase).values()))
    trained = [p for p in scene.method.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


@in_every_scene
def test_the_teacher_is_neither_changed_nor_given_a_gradient(scene: Scene):
    leaves = map_tensors(scene.teacher, lambda x: x.clone().requires_grad_())
    before = [x.detach().clone() for x in tensors(leaves)]
    weights = {key: value.clone() for key, value in scene.network.state_dict().items()}
    teacher_features = map_tensors(leaves, Tensor.detach)
    for phase in (phase for phase in scene.phases() if phase.trains):
        torch.autograd.backward(
            tuple(scene.losses(phase, teacher_features=teacher_features).values())
        )
    assert all(leaf.grad is None for leaf in tensors(leaves))
    assert all(torch.equal(a, b) for a, b in zip(tensors(leaves), before, strict=True))
    assert all(parameter.grad is None for parameter in scene.network.parameters())
    now = scene.network.state_dict()
    assert all(torch.equal(weights[key], now[key]) for key in weights)


@in_every_scene
def test_the_students_features_are_not_changed(scene: Scene):
    for phase in scene.phases():
        student_features = scene.see()
        before = [x.detach().clone() for x in tensors(student_features)]
        scene.losses(phase, student_features)
        assert all(
            torch.equal(a, b) for a, b in zip(tensors(student_features), before, strict=True)
        )


@pytest.mark.parametrize("text", [text for text in SPECS if viewing(text)])
def test_the_benchmarks_presets_read_its_maps_and_all_else_reads_ours(text: str):
    assert viewing(text) == ("crd" if text.endswith("@crd") else "stages")


@pytest.mark.parametrize("text", [text for text in SPECS if viewing(text)])
def test_a_loss_reads_the_maps_of_its_view_and_no_others(text: str):
    torch.manual_seed(0)
    spec = methods.parse(text)
    student, teacher = TinyNet((4, 4, 6, 8)), TinyNet((4, 4, 6, 8)).eval()
    student_features, teacher_features = student(images()), teacher(images())
    shapes = Shapes.of(student_features), Shapes.of(teacher_features)
    method = spec.kind.build(config_of(spec), *shapes, given(teacher))
    dim, dark = (
        without_the_other_view(x, viewing(text)) for x in (student_features, teacher_features)
    )
    for phase in method.phases(Budget(8, "inside")):
        expected = phase.loss(student_features, teacher_features, batch())
        torch.testing.assert_close(phase.loss(dim, dark, batch()), expected)


def without_the_other_view(features: Features, view: str | None) -> Features:
    none = map_tensors(features, lambda x: torch.full_like(x, torch.nan))
    if view == "stages":
        return features._replace(crd=none.crd, crd_preacts=none.crd_preacts)
    return features._replace(stem=none.stem, stages=none.stages, preacts=none.preacts)


@in_every_scene
def test_a_loss_draws_nothing_from_the_global_generator(scene: Scene):
    for phase in scene.phases():
        student_features, before = scene.see(), torch.get_rng_state()
        scene.losses(phase, student_features)
        assert torch.equal(torch.get_rng_state(), before)


@in_every_scene
def test_a_state_dict_goes_round_and_holds_all_that_the_next_loss_depends_on(scene: Scene):
    for phase in scene.phases():  # what counts steps or fills a memory has something to remember
        scene.losses(phase)
    for parameter in scene.method.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    shapes = Shapes.of(scene.see()), Shapes.of(scene.teacher)
    again = scene.method.build(scene.method.config, *shapes, given(scene.network))
    again.load_state_dict(scene.method.state_dict())
    other = scene._replace(method=again)
    student_features = scene.see()
    for one, two in zip(scene.phases(), other.phases(), strict=True):
        first, second = scene.losses(one, student_features), other.losses(two, student_features)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_student_that_is_the_teacher_has_nothing_left_to_learn_from_it(spec: methods.Spec):
    torch.manual_seed(0)
    network = TinyNet((4, 4, 6, 8)).eval()
    teacher_features = network(images())
    method = spec.kind.build(
        config_of(spec), Shapes.of(teacher_features), Shapes.of(teacher_features), given(network)
    )
    stays = {"ce"} | STAYS.get(spec.kind.name, set())
    for phase in method.phases(Budget(8, "inside")):
        if phase.reads_student and phase.reads_teacher:
            for name, loss in phase.loss(teacher_features, teacher_features, batch()).items():
                assert name in stays or abs(loss.item()) < 1e-5, name


@pytest.mark.parametrize("init_epochs", ["inside", "extra"])
@pytest.mark.parametrize("epochs", [1, 2, 20, 240])
def test_phases_spend_the_budget(spec: methods.Spec, epochs: int, init_epochs: Any):
    network = TinyNet((4, 4, 6, 8))
    shapes = Shapes.of(network(images()))
    method = spec.kind.build(config_of(spec), shapes, shapes, given(network))
    phases = method.phases(Budget(epochs, init_epochs))
    names = [phase.name for phase in phases]
    assert all(phase.epochs >= 1 for phase in phases)
    assert len(set(names)) == len(names)
    assert phases[-1].lr == "scheduled"
    assert phases[-1].reads_student
    if init_epochs == "inside":
        assert sum(phase.epochs for phase in phases) == max(epochs, len(phases))
    else:
        assert phases[-1].epochs == epochs


def test_a_config_is_a_frozen_dataclass_of_plain_values(spec: methods.Spec):
    config = config_of(spec)
    assert is_dataclass(config)
    assert config == config_of(spec)
    assert json.loads(json.dumps(spec.defaults)) == spec.defaults
    for field in fields(spec.kind.Config):
        with pytest.raises(FrozenInstanceError):
            setattr(config, field.name, 1)


def test_a_method_says_who_it_is_and_whether_it_needs_a_teacher(spec: methods.Spec):
    kind = spec.kind
    assert isinstance(kind.version, int)
    assert kind.paper is None or isinstance(kind.paper, Paper)
    assert kind.__doc__
    network = TinyNet((4, 4, 6, 8))
    shapes = Shapes.of(network(images()))
    phases = kind.build(config_of(spec), shapes, shapes, given(network)).phases(Budget(8, "inside"))
    assert kind.needs_teacher == any(phase.reads_teacher for phase in phases)
