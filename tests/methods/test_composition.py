"""Compositions: every part has an explicit weight, and no term is counted twice."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import methods
from methods.interface import Budget, Features, Method, Shapes
from tests.methods.networks import TinyNet, batch, given, images

BUDGET = Budget(240, "inside")


class Scene:
    """A composition between two small networks."""

    def __init__(self, text: str, weights: dict[str, float], **changes: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.student, network = TinyNet((4, 4, 6, 8)), TinyNet((4, 4, 6, 8)).eval()
        self.student_features: Features = self.student(images())
        self.teacher_features: Features = network(images())
        self.shapes = Shapes.of(self.student_features), Shapes.of(self.teacher_features)
        self.given = given(network)
        self.spec = methods.parse(text)
        self.method = self.spec.kind.build(self.config(weights, changes), *self.shapes, self.given)

    def config(self, weights: dict[str, float], changes: dict[str, dict[str, Any]]) -> Any:
        kind: Any = self.spec.kind
        hints = {field.name: field.type for field in kind.Config.__dataclass_fields__.values()}
        parts = {
            part.name: part.Config(**(self.spec.defaults[part.name] | changes.get(part.name, {})))
            for part in kind.parts
        }
        return kind.Config(weights=hints["weights"](**weights), **parts)

    def part(self, name: str) -> Method:
        kind = methods.get(name)
        return kind.build(kind.Config(), *self.shapes, self.given)

    def losses(self, method: Method, phase: int = -1) -> dict[str, torch.Tensor]:
        return method.phases(BUDGET)[phase].loss(
            self.student_features, self.teacher_features, batch()
        )


def test_the_task_loss_counts_once_and_every_part_by_its_weight():
    scene = Scene("at+kd", {"ce": 0.5, "at": 2.0, "kd": 3.0})
    losses = scene.losses(scene.method)
    at, kd = scene.losses(scene.part("at")), scene.losses(scene.part("kd"))
    expected = {
        "ce": 0.5 * F.cross_entropy(scene.student_features.logits, batch().labels),
        "at": 2 * at["at"],
        "kd": 3 * kd["kd"],
    }
    torch.testing.assert_close(losses, expected)


def test_a_weight_of_zero_leaves_the_labels_out():
    scene = Scene("at+kd", {"ce": 0.0, "at": 1.0, "kd": 1.0})
    assert list(scene.losses(scene.method)) == ["at", "kd"]


def test_initialising_phases_come_first_and_the_last_phases_run_together():
    scene = Scene("ab+kd", {"ce": 1.0, "ab": 1.0, "kd": 1.0})
    init, last = scene.method.phases(BUDGET)
    assert (init.name, init.epochs, init.lr) == ("init", 30, "constant")
    assert (last.name, last.epochs, last.lr) == ("distill", 210, "scheduled")
    assert list(scene.losses(scene.method, 0)) == ["ab"]
    # AB's second phase has a term of its own that is named as KD's: they stay apart.
    assert list(scene.losses(scene.method)) == ["ce", "ab.kd", "kd"]


def test_a_last_phase_without_a_teacher_gets_the_other_parts_teacher():
    scene = Scene("fsp+kd", {"ce": 1.0, "fsp": 1.0, "kd": 1.0})
    _, last = scene.method.phases(BUDGET)
    assert last.name == "task+distill"
    assert last.reads_teacher
    assert list(scene.losses(scene.method)) == ["ce", "kd"]


def test_parts_that_initialise_over_equal_phases_do_so_together():
    scene = Scene("ab+fsp", {"ce": 1.0, "ab": 1.0, "fsp": 2.0})
    own = scene.losses(scene.part("fsp"), 0)["fsp"]
    together = scene.losses(scene.method, 0)
    assert list(together) == ["ab", "fsp"]
    torch.testing.assert_close(together["fsp"], 2 * own)


def test_parts_whose_phases_do_not_agree_are_refused_with_the_phases():
    scene = Scene("ab+fsp", {"ce": 1.0, "ab": 1.0, "fsp": 1.0}, fsp={"init_share": 0.25})
    message = r"ab\+fsp: the parts' phases do not agree: ab has 'init' of 30 epochs.*'init' of 60"
    with pytest.raises(ValueError, match=message):
        scene.method.phases(BUDGET)


def test_connectors_of_all_parts_are_trained_and_saved():
    scene = Scene("fitnets+ab", {"ce": 1.0, "fitnets": 1.0, "ab": 1.0})
    assert set(scene.method.state_dict()) == {
        f"built.{name}.{key}" for name in ("fitnets", "ab") for key in scene.part(name).state_dict()
    }


def test_a_pair_that_one_part_cannot_distil_is_refused_in_its_name():
    kind: Any = methods.get("kd+fsp")
    wide, narrow = (Shapes.of(TinyNet(w)(images())) for w in ((8, 8, 8, 8), (4, 4, 6, 8)))
    scene = Scene("kd+fsp", {"ce": 1.0, "kd": 1.0, "fsp": 1.0})
    reason = kind.mismatch(scene.method.config, narrow, wide)
    assert reason.startswith("fsp: widths differ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kd+scratch", "scratch reads no teacher"),
        ("kd+at+kd", "kd occurs twice"),
        ("simkd+kd", "simkd deploys more than the student"),
    ],
)
def test_what_cannot_be_composed_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        methods.parse(text)


def test_the_versions_of_all_parts_are_in_the_compositions():
    assert methods.get("at+kd").version == (1, methods.get("at").version, methods.get("kd").version)


@pytest.mark.parametrize("weight", [-1.0, 0.0, float("inf")])
def test_a_weight_must_be_positive(weight: float):
    with pytest.raises(ValueError, match="the weight of at must be positive"):
        Scene("at+kd", {"ce": 1.0, "at": weight, "kd": 1.0})


def test_a_first_phase_that_keeps_the_head_does_so_in_a_composition_and_the_last_does_not():
    scene = Scene("ab@crd+kd", {"ce": 1.0, "ab": 1.0, "kd": 1.0})
    assert [phase.keeps_head for phase in scene.method.phases(BUDGET)] == [True, False]


def test_first_phases_of_which_only_one_keeps_the_head_do_not_agree():
    scene = Scene("ab@crd+fsp", {"ce": 1.0, "ab": 1.0, "fsp": 1.0})
    with pytest.raises(ValueError, match=r"ab has 'init' of 30 epochs .*, which keeps the head"):
        scene.method.phases(BUDGET)
