from benchmark.report.palette import OTHER_STYLE, method_styles
from tests.report.grids import FIELD, METHODS


def test_new_methods_get_looks_of_their_own_that_do_not_depend_on_the_suite():
    names = [*METHODS, *(f"new{i}" for i in range(8))]
    assert len(set(method_styles(names).values())) == len(names)
    assert method_styles(["new3"])["new3"] == method_styles(["kd", "new3"])["new3"]


def test_looks_keep_the_order_of_the_suite():
    names = ["zeta", "kd", "alpha", "scratch"]
    assert list(method_styles(names)) == names


def test_with_more_new_methods_than_looks_colour_shows_the_known_ones_and_their_presets():
    shown = method_styles(FIELD)
    few = method_styles(METHODS)
    assert {name: shown[name] for name in METHODS} == few
    assert shown["ab@crd"] == few["ab"]
    plain = [name for name in FIELD if name.split("@")[0] not in METHODS]
    assert {shown[name] for name in plain} == {OTHER_STYLE}
    assert OTHER_STYLE not in few.values()
