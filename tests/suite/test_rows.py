"""The rows of a suite: labels, presets, compositions, controls, and what can be wrong with them."""

from collections.abc import Mapping
from typing import Any

import pytest

from benchmark.suite.rows import Row, parse_row, row_problems
from benchmark.suite.sweeps import expand_sweeps, takes_a_list

WEIGHTS = {"ce": 1, "at": 1, "kd": 1}


def row(label: str, given: Mapping[str, Any] | None = None) -> Row:
    entry, wrong = parse_row(label, given)
    assert entry is not None, wrong
    return entry


def said(label: str, given: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """The places below `methods` and what is said of them."""
    return [
        (".".join(map(str, problem.where[1:])), problem.message)
        for problem in row_problems({label: given})
    ]


def test_a_row_is_a_method_by_its_name():
    entry = row("kd", {"temperature": 2})
    assert entry.config.name == "kd"
    assert entry.config.config == {"temperature": 2.0, "alpha": 0.9}
    assert not entry.control


def test_a_preset_gives_the_values_that_are_not_given():
    entry = row("fsp@crd", {"weight": 2})
    assert entry.config.name == "fsp@crd"
    assert entry.config.config["pooling"] == "avg"
    assert entry.config.config["weight"] == 2
    assert list(entry.departures()) == ["fsp@crd weight = 2"]


def test_a_preset_with_the_methods_defaults_is_the_same_run():
    assert row("kd@crd").config == row("kd").config
    assert list(row("kd@crd").departures()) == []


def test_a_method_can_have_several_rows():
    entry = row("kd at T of 2", {"method": "kd", "temperature": 2})
    assert entry.config == row("kd", {"temperature": 2}).config
    assert list(entry.departures()) == ["kd at T of 2 = kd with temperature = 2"]


def test_a_list_for_one_value_makes_a_row_for_each_with_a_label_that_says_it():
    swept = expand_sweeps({"scratch": None, "kd": {"temperature": [1, 2.5], "alpha": [0.5, 1]}})
    assert swept == {
        "scratch": None,
        "kd temperature=1 alpha=0.5": {"method": "kd", "temperature": 1, "alpha": 0.5},
        "kd temperature=1 alpha=1": {"method": "kd", "temperature": 1, "alpha": 1},
        "kd temperature=2.5 alpha=0.5": {"method": "kd", "temperature": 2.5, "alpha": 0.5},
        "kd temperature=2.5 alpha=1": {"method": "kd", "temperature": 2.5, "alpha": 1},
    }


def test_a_row_of_a_sweep_is_the_run_of_its_values_and_needs_no_caption():
    [(label, given)] = expand_sweeps({"kd": {"temperature": [3]}}).items()
    assert label == "kd temperature=3"
    assert row(label, given).config == row("kd", {"temperature": 3}).config
    assert list(row(label, given).departures()) == []
    [(label, given)] = expand_sweeps({"mine": {"method": "kd", "temperature": [3]}}).items()
    assert list(row(label, given).departures()) == ["mine temperature=3 = kd with temperature = 3"]


def test_values_that_are_nearly_equal_are_rows_of_their_own():
    assert len(expand_sweeps({"kd": {"temperature": [1.00000001, 1.00000002, 1234567.5]}})) == 3


def test_a_label_that_begins_with_a_method_needs_no_key_for_it():
    assert row("kd T=1", {"temperature": 1}).config == row("kd", {"temperature": 1}).config
    assert said("kdd T=1", {}) == [("kdd T=1", said("kdd T=1", {})[0][1])]
    assert "no such method" in said("kdd T=1", {})[0][1]


def test_a_parameter_that_is_a_list_is_not_swept():
    weights = {"weights": WEIGHTS, "kd": {"temperature": [1, 2]}}
    assert [*expand_sweeps({"at+kd": weights})] == [
        "at+kd kd.temperature=1",
        "at+kd kd.temperature=2",
    ]
    assert takes_a_list(tuple[int, ...])
    assert takes_a_list(list[str] | None)
    assert not takes_a_list(float | None)


def test_a_sweep_cannot_make_a_row_that_is_there_already():
    block = {"kd": {"temperature": [1, 2]}, "kd temperature=1": {"method": "kd"}}
    [problem] = row_problems(block)
    assert problem == (("methods", "kd"), "makes a row 'kd temperature=1', which is there already")


def test_the_caption_names_the_method_behind_a_label_of_another_method():
    assert list(row("at", {"method": "kd"}).departures()) == ["at = kd"]


def test_a_control_is_the_same_method_with_a_teacher_of_random_weights():
    entry = row("kd no", {"method": "kd", "teacher": "random"})
    assert entry.control
    assert entry.config == row("kd").config
    assert list(entry.departures()) == ["kd no = kd taught by random weights"]


def test_a_compositions_weights_and_its_parts_parameters_are_in_its_config():
    entry = row("at+kd", {"weights": WEIGHTS, "kd": {"temperature": 2}})
    assert entry.config.name == "at+kd"
    assert entry.config.version == (1, 1, 1)
    assert entry.config.config["weights"] == {"ce": 1.0, "at": 1.0, "kd": 1.0}
    assert entry.config.config["kd"] == {"temperature": 2.0, "alpha": 0.9}
    assert list(entry.departures()) == [
        "at+kd = 1 ce + 1 at + 1 kd",
        "at+kd kd.temperature = 2",
    ]


def test_the_parts_of_a_composition_may_be_presets():
    entry = row("ab@crd+kd@crd", {"weights": {"ce": 1, "ab": 1, "kd": 1}})
    assert entry.config.name == "ab@crd+kd"
    assert entry.config.config["ab"]["second_phase"] == "ce"


@pytest.mark.parametrize(
    ("label", "given", "place", "message"),
    [
        ("fitnet", None, "fitnet", "no such method. Did you mean 'fitnets'?"),
        ("ab@cdr", None, "ab@cdr", "no such preset of ab. Did you mean 'ab@crd'?"),
        ("mine", {"method": "kdd"}, "mine.method", "no such method. Did you mean 'kd'?"),
        ("kd", {"temprature": 2}, "kd.temprature", "Did you mean 'temperature'?"),
        ("kd", {"teacher": "none"}, "kd.teacher", "must be random or left out, got 'none'"),
        ("scratch", {"teacher": "random"}, "scratch.teacher", "scratch has no teacher"),
        ("kd,2", {"method": "kd"}, "kd,2", "no comma or control character"),
        ("kd\x00", {"method": "kd"}, "kd\x00", "no comma or control character"),
        ("k" * 41, {"method": "kd"}, "k" * 41, "up to 40 characters"),
        ("kd", {"temperature": [2, 3, 2]}, "kd.temperature", "2 is listed twice"),
        ("kd", {"temperature": []}, "kd.temperature", "expected a number, got an empty list"),
        ("kd", {"temperature": [1, 2], "alpha": 2}, "kd", "alpha must lie in [0, 1]"),
        ("kd", {"temperature": [1, "x"]}, "kd.temperature", "expected a number, got 'x'"),
        ("kd", {"temperature": [*range(1, 1002)]}, "kd", "makes 1,001 rows; at most 1,000"),
        ("at+scratch", None, "at+scratch", "scratch reads no teacher"),
        ("at+kdd", None, "at+kdd", "Did you mean 'kd'?"),
        ("at+kd", None, "at+kd.weights", "as in weights: {ce: 1, at: 1, kd: 1}"),
        ("at+kd", {"weights": {"ce": 1, "at": 1}}, "at+kd.weights.kd", "missing"),
        ("at+kd", {"weights": WEIGHTS | {"sp": 1}}, "at+kd.weights.sp", "no such field"),
        ("at+kd", {"weights": WEIGHTS | {"at": 0}}, "at+kd.weights", "of at must be positive"),
        ("at+kd", {"weights": WEIGHTS, "kd": {"T": 2}}, "at+kd.kd.T", "no such field"),
        ("at+kd", {"weights": WEIGHTS, "kd": {"alpha": 2}}, "at+kd.kd", "alpha must lie in [0, 1]"),
    ],
)
def test_every_problem_of_a_row_is_reported_at_its_key(
    label: str, given: dict[str, Any] | None, place: str, message: str
):
    [(where, text)] = said(label, given)
    assert where == place
    assert message in text


def test_a_block_of_another_form_is_left_to_the_files_own_check():
    assert list(row_problems(["kd"])) == []
    assert list(row_problems({"kd": 3})) == []
