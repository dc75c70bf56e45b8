"""The features that a method gets, and the views of them."""

from methods.interface import Shapes
from tests.methods.networks import TinyNet, images

WIDTHS = (4, 4, 6, 8)


def test_a_view_puts_its_maps_in_the_place_of_stem_and_stages_and_leaves_the_rest():
    student_features = TinyNet(WIDTHS)(images())
    viewed = student_features.viewed("crd")
    assert all(
        a is b for a, b in zip((viewed.stem, *viewed.stages), student_features.crd, strict=True)
    )
    for name in ("preacts", "embedding", "logits", "crd"):
        assert getattr(viewed, name) is getattr(student_features, name)
    assert viewed.viewed("crd").stages == viewed.stages
    assert Shapes.of(viewed) == Shapes.of(student_features)


def test_without_maps_of_its_own_a_view_shows_the_stages():
    student_features = TinyNet(WIDTHS)(images())
    assert student_features.viewed("stages") is student_features
    plain = student_features._replace(crd=())
    assert plain.viewed("crd") is plain
