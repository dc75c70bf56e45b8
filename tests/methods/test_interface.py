"""What a method is shown, and through which view."""

from methods.interface import Shapes
from tests.methods.networks import TinyNet, images

WIDTHS = (4, 4, 6, 8)


def test_a_view_puts_its_maps_in_the_place_of_stem_and_stages_and_leaves_the_rest():
    seen = TinyNet(WIDTHS)(images())
    viewed = seen.viewed("crd")
    assert all(a is b for a, b in zip((viewed.stem, *viewed.stages), seen.crd, strict=True))
    for name in ("preacts", "embedding", "logits", "crd"):
        assert getattr(viewed, name) is getattr(seen, name)
    assert viewed.viewed("crd").stages == viewed.stages
    assert Shapes.of(viewed) == Shapes.of(seen)


def test_without_maps_of_its_own_a_view_shows_the_stages():
    seen = TinyNet(WIDTHS)(images())
    assert seen.viewed("stages") is seen
    plain = seen._replace(crd=())
    assert plain.viewed("crd") is plain
