"""The features that a method gets, and the views of them."""

from dataclasses import dataclass, field

from methods.interface import LATER, Shapes, recorded_parameters
from tests.methods.networks import TinyNet, images

WIDTHS = (4, 4, 6, 8)


def test_a_view_replaces_stem_stages_and_preacts_and_leaves_the_rest():
    student_features = TinyNet(WIDTHS)(images())
    viewed = student_features.viewed("crd")
    assert all(
        a is b for a, b in zip((viewed.stem, *viewed.stages), student_features.crd, strict=True)
    )
    assert viewed.preacts is student_features.crd_preacts
    for name in ("embedding", "logits", "crd"):
        assert getattr(viewed, name) is getattr(student_features, name)
    assert viewed.viewed("crd").stages == viewed.stages
    assert Shapes.of(viewed) == Shapes.of(student_features)


def test_without_maps_of_its_own_a_view_shows_the_stages():
    student_features = TinyNet(WIDTHS)(images())
    assert student_features.viewed("stages") is student_features
    plain = student_features._replace(crd=(), crd_preacts=())
    assert plain.viewed("crd") is plain


@dataclass(frozen=True)
class Grown:
    """A Config that gained a field when it already had runs."""

    weight: float = 1.0
    scale: float = field(default=2.0, metadata=LATER)


@dataclass(frozen=True)
class Around:
    part: Grown


def test_a_later_field_is_recorded_only_where_it_changes_something():
    assert recorded_parameters(Grown(weight=3.0)) == {"weight": 3.0}
    assert recorded_parameters(Grown(scale=1.0)) == {"weight": 1.0, "scale": 1.0}
    assert recorded_parameters(Around(Grown())) == {"part": {"weight": 1.0}}
