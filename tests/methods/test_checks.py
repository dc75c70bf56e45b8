"""Which values of a Config are refused: numbers by its own checks, words when a suite is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import methods
from benchmark.config.validation import validate
from methods.blocks.checks import require_non_negative, require_positive, require_within


@dataclass
class Numbers:
    a: float = 0.0
    b: float = 1.0


def test_positive_excludes_zero_and_non_negative_includes_it():
    require_positive(Numbers(), "b")
    require_non_negative(Numbers(), "a", "b")
    with pytest.raises(ValueError, match="a must be positive"):
        require_positive(Numbers(), "b", "a")
    with pytest.raises(ValueError, match="b must not be negative, not -1"):
        require_non_negative(Numbers(b=-1), "a", "b")


@pytest.mark.parametrize("require", [require_positive, require_non_negative])
def test_what_is_not_a_number_is_refused(require: Any):
    with pytest.raises(ValueError, match="not nan"):
        require(Numbers(b=float("nan")), "b")


@pytest.mark.parametrize(
    ("interval", "accepted", "refused"),
    [
        ("[0, 1]", [0.0, 0.5, 1.0], [-0.1, 1.1, float("nan")]),
        ("(0, 1)", [0.5], [0.0, 1.0, float("nan")]),
        ("[0, 1)", [0.0, 0.5], [-0.1, 1.0]),
        ("(0, 1]", [0.5, 1.0], [0.0, 1.1]),
    ],
)
def test_an_interval_has_the_ends_that_its_brackets_say(
    interval: str, accepted: list[float], refused: list[float]
):
    for value in accepted:
        require_within(interval, Numbers(value), "a")
    for value in refused:
        with pytest.raises(ValueError, match=r"a must lie in [\[(]0, 1[\])], not"):
            require_within(interval, Numbers(value), "a")


def words() -> Iterator[tuple[str, str]]:
    """Yield every field of a method's Config that takes one of several words."""
    for name in methods.names():
        for field, hint in get_type_hints(methods.get(name).Config).items():
            if get_origin(hint) is Literal:
                yield name, field


@pytest.mark.parametrize(("name", "field"), list(words()))
def test_a_word_that_a_field_does_not_know_is_refused_when_a_suite_is_read(name: str, field: str):
    kind = methods.get(name).Config
    value, (problem,) = validate(kind, {field: "unheard of"})
    assert value is None
    assert problem.where == (field,)
    options = get_args(get_type_hints(kind)[field])
    assert all(repr(option) in problem.message for option in options)


def test_the_fields_of_words_are_found():
    assert len(list(words())) >= 18
