"""Configuration files: what they say, and what is said about those that are wrong."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from benchmark.config.document import Document, load_document
from benchmark.config.errors import Problem, UserError, suggest
from benchmark.config.validation import StrictModel, canonical_json, short_digest, validate


@dataclass(frozen=True)
class Softening:
    temperature: float = 4.0
    alpha: float = 0.9
    layers: tuple[int, ...] = (1, 2)
    norm: Literal["l1", "l2"] = "l2"
    weight: float | None = None

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")


class Pixels(StrictModel):
    name: str
    limit: Annotated[int, Field(gt=0)] | None = None


class Recipe(StrictModel):
    epochs: Annotated[int, Field(gt=0)]
    lr: Annotated[float, Field(gt=0)] = 0.05
    nesterov: bool = False
    drops: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> "Recipe":
        if list(self.drops) != sorted(self.drops):
            raise ValueError("drops must be in increasing order")
        return self


class Suite(StrictModel):
    title: str
    dataset: str | Pixels
    methods: dict[str, Softening]
    recipe: Recipe
    seeds: tuple[int, ...] = (0,)


def read(folder: Path, text: str) -> Document:
    path = folder / "suite.yaml"
    path.write_text(text)
    return load_document(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, text)
    return str(caught.value).removeprefix(f"{folder}/")


# ---------------------------------------------------------------- YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: .nan\nc: [-.inf]", "2 problems\n  line 2  b     must be a finite number"),
        ("a: 1e999", "must be a finite number, got .inf"),
        ("<<: 3", "line 1, column 5: << takes a mapping or a list of mappings"),
        ('a: "\\ud800"', "line 1, column 4: a control character, or half of a character"),
        ('"\\0": 1', "line 1, column 1: a control character"),
        ("a: " + "{b: " * 25 + "1" + "}" * 25, "is nested more than 20 deep"),
        ("a: &a [x, x, x]\n" + "".join(
            f"{one}: &{one} [{', '.join([f'*{before}'] * 50)}]\n"
            for before, one in zip("abcdef", "bcdefg", strict=True)
        ), "more than 200,000 values"),
        ("a: &a {x: 1}\n" + "".join(
            f"{one}: &{one} {{<<: [{', '.join([f'*{before}'] * 50)}]}}\n"
            for before, one in zip("abcdef", "bcdefg", strict=True)
        ), "more than 200,000 values"),
        ("a: " + "x" * 500_000, "is larger than 500 kB"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_plain_data_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_mappings_are_merged_and_own_keys_replace_merged_ones(tmp_path: Path) -> None:
    text = """
base: &base {epochs: 4, lr: 0.1}
other: &other {lr: 0.2, momentum: 0.5}
own: {<<: *base, lr: 0.3}
both: {<<: [*base, *other], nesterov: true}
quoted: {"<<": 1}
"""
    document = read(tmp_path, text)
    assert document.data["own"] == {"epochs": 4, "lr": 0.3}
    assert document.data["both"] == {"epochs": 4, "lr": 0.1, "momentum": 0.5, "nesterov": True}
    assert document.data["quoted"] == {"<<": 1}
    assert document.origins["own", "epochs"] == 2
    assert document.origins["own", "lr"] == 4


@pytest.mark.parametrize("name", ["pipe", "device"])
def test_a_file_that_may_never_end_is_not_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="is not a regular file"):
        load_document(tmp_path / name)


def test_a_path_of_the_command_line_is_not_endless(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1")
    with pytest.raises(UserError, match="is nested more than 20 deep"):
        document.with_overrides([f"{'.'.join('a' * 1000)}=1"])
    with pytest.raises(UserError, match=r"--set b *b *must be a finite number"):
        document.with_overrides(["b=.nan"])


def test_of_very_many_problems_the_first_are_listed(tmp_path: Path) -> None:
    document = read(tmp_path, "".join(f"k{i}: 1\n" for i in range(3000)))
    with pytest.raises(UserError) as caught:
        document.fail([Problem((f"k{i}",), "no such field") for i in range(3000)])
    assert "3000 problems, of which the first 50 are" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 51


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-4", 1e-4),
        ("5E3", 5000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("010", 10),
        ("-7", -7),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:00", "12:30:00"),
        ("2026-11-22", "2026-11-22"),
        ("'1e-4'", "1e-4"),
        ("1.2.3", "1.2.3"),
        ("-", [None]),
        ("<<", "<<"),
        ("=", "="),
        ("!!str 12", "12"),
    ],
)
def test_an_unquoted_value_keeps_its_type(tmp_path: Path, written: str, meant: Any) -> None:
    value = read(tmp_path, f"key:\n  {written}\n").data["key"]
    assert value == meant
    assert type(value) is type(meant)


def test_a_key_is_the_text_that_is_written(tmp_path: Path) -> None:
    assert list(read(tmp_path, "no: 1\n010: 2\ntrue: 3\n1e3: 4\n").data) == [
        "no",
        "010",
        "true",
        "1e3",
    ]


def test_an_anchor_can_be_used_again(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &x {t: 4}\nb: *x\n").data == {"a": {"t": 4}, "b": {"t": 4}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "line 5, column 3: the key 'c' is repeated"),
        ("a: [1, 2\nb: 3\n", "line 2, column 2: "),
        ("a: 1\n\tb: 2\n", "line 2, column 1: "),
        ("", "is empty"),
        ("# nothing yet\n", "is empty"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: "),
        ("a: !!python/object:os.system {}\n", "line 1, column 4: the tag"),
        ("a: !!int x\n", "line 1, column 4: cannot be read as int: x"),
        ("a: 1\n? [b]\n: 2\n", "line 2, column 3: a key must be text"),
        ("a: 1\nb: \x07\n", "line 2: a character"),
        ("a: &x [*x]\n", "nested more than 20 deep"),
        ("[" * 2000, "nested too deeply"),
        ("a: 1\nb: *nowhere\n", "line 2, column 4: "),
        (f"a: {'9' * 5000}\n", "line 1, column 4: cannot be read as int: 999"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    message = complaint(tmp_path, text)
    assert message.startswith("suite.yaml: ")
    assert said in message
    assert "\n" not in message


def test_a_file_that_is_no_text_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_bytes(b"a: 1\nb: \xff\xfe\n")
    with pytest.raises(UserError, match=r"suite\.yaml: line 2: is not UTF-8 text"):
        load_document(tmp_path / "suite.yaml")


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    for name in ("cifar100.yaml", "quickstart.yaml", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError) as caught:
        load_document(tmp_path / "cifar10.yaml")
    assert str(caught.value) == (
        f"{tmp_path}/cifar10.yaml: no such file. Did you mean 'cifar100.yaml'? "
        "There are: cifar100.yaml, quickstart.yaml"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        load_document(tmp_path)


# ---------------------------------------------------------------- all errors at once

SIX_FAULTS = """\
title: Six faults

dataset:
  name: digits
  limit: 0
methods:
  kd:
    temprature: 4
  at: {norm: l3}
  ab:
    temperature: -1
recipe:
  epochs: "240 "
  lr: 1e-4
  nesterov: no
"""


def test_all_faults_of_a_file_are_listed_at_once_by_line(tmp_path: Path) -> None:
    document = read(tmp_path, SIX_FAULTS)
    value, problems = validate(Suite, document.data)
    assert value is None
    with pytest.raises(UserError) as caught:
        document.fail(reversed(problems))
    known = "alpha, layers, norm, temperature, weight"
    head, *lines = str(caught.value).splitlines()
    assert head == f"{tmp_path}/suite.yaml: 6 problems"
    assert lines == [
        "  line 5   dataset.limit           must be greater than 0, got 0",
        "  line 8   methods.kd.temprature   no such field. Did you mean 'temperature'? "
        f"Fields: {known}",
        "  line 9   methods.at.norm         must be 'l1' or 'l2', got 'l3'",
        "  line 10  methods.ab              temperature must be positive, not -1.0",
        "  line 13  recipe.epochs           expected a whole number, got '240 '",
        "  line 15  recipe.nesterov         expected true or false, got 'no'",
    ]


def test_a_missing_field_is_cited_at_the_line_of_what_should_hold_it(tmp_path: Path) -> None:
    document = read(tmp_path, "title: t\ndataset: digits\nmethods: {}\nrecipe:\n  lr: 1\n")
    problems = validate(Suite, document.data)[1]
    assert problems == [Problem(("recipe", "epochs"), "missing")]
    with pytest.raises(UserError, match=r"1 problem\n  line 4  recipe\.epochs   missing$"):
        document.fail(problems)


@pytest.mark.parametrize("data", [[], "word", None, 3])
def test_a_file_that_is_no_mapping_is_one_problem(tmp_path: Path, data: Any) -> None:
    problems = validate(Suite, data)[1]
    assert [problem.where for problem in problems] == [()]
    with pytest.raises(UserError, match=r"\(whole file\)   expected a mapping, got "):
        Document(tmp_path, data, {(): 1}).fail(problems)


# ---------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        ({"temperature": "4"}, ("temperature",), "expected a number, got '4'"),
        ({"temperature": True}, ("temperature",), "expected a number, got true"),
        ({"temperature": None}, ("temperature",), "expected a number, got null"),
        ({"temperature": float("nan")}, ("temperature",), "must be a finite number, got .nan"),
        ({"weight": float("-inf")}, ("weight",), "must be a finite number, got -.inf"),
        ({"layers": [1, True]}, ("layers", 1), "expected a whole number, got true"),
        ({"layers": [1.0]}, ("layers", 0), "expected a whole number, got 1.0"),
        ({"layers": 1}, ("layers",), "expected a list, got 1"),
        ({"layers": {}}, ("layers",), "expected a list, got a mapping"),
        ({"temperature": [1]}, ("temperature",), "expected a number, got a list of 1"),
    ],
)
def test_nothing_is_converted_silently(data: Any, where: Any, message: str) -> None:
    assert validate(Softening, data) == (None, [Problem(where, message)])


def test_a_whole_number_is_a_number_and_a_list_a_tuple() -> None:
    value, problems = validate(Softening, {"temperature": 4, "layers": [3]})
    assert (value, problems) == (Softening(4.0, layers=(3,)), [])
    assert value is not None
    assert type(value.temperature) is float  # 4 and 4.0 must be one run


def test_all_faults_of_a_dataclass_come_at_once() -> None:
    problems = validate(Softening, {"alpa": 1, "alpha": "x", "weight": "y"}, at=("methods", 2))[1]
    assert sorted(problem.where[2] for problem in problems) == ["alpa", "alpha", "weight"]
    assert all(problem.where[:2] == ("methods", 2) for problem in problems)


def test_a_check_leaves_a_methods_own_dataclass_as_it_was() -> None:
    validate(Softening, {"alpha": 1})
    assert not [name for name in vars(Softening) if "pydantic" in name]


def test_a_models_validator_is_a_problem_like_others() -> None:
    problems = validate(Recipe, {"epochs": 1, "drops": [0.5, 0.25]}, at=("recipe",))[1]
    assert problems == [Problem(("recipe",), "drops must be in increasing order")]


def test_of_a_union_only_the_likely_branch_is_spoken_of() -> None:
    def about(dataset: Any) -> list[Problem]:
        data = {"title": "", "methods": {}, "recipe": {"epochs": 1}, "dataset": dataset}
        return sorted(validate(Suite, data)[1])  # pydantic releases differ in the order

    assert about({"nme": "digits"}) == [
        Problem(("dataset", "name"), "missing"),
        Problem(("dataset", "nme"), "no such field. Did you mean 'name'? Fields: limit, name"),
    ]
    assert about(3) == [Problem(("dataset",), "expected text, got 3; or expected a mapping, got 3")]


# ---------------------------------------------------------------- overrides

GOOD = "title: t\ndataset: digits\nmethods:\n  kd:\nrecipe:\n  epochs: 240\nseeds: [0, 1]\n"


def test_overrides_are_yaml_values_put_into_their_places(tmp_path: Path) -> None:
    document = read(tmp_path, GOOD)
    changed = document.with_overrides(
        ["recipe.epochs=2", "recipe.lr=1e-2", "seeds=[3, 4]", "seeds.1=5", "methods.kd.alpha=1"]
    )
    assert changed.data == {
        "title": "t",
        "dataset": "digits",
        "methods": {"kd": {"alpha": 1}},
        "recipe": {"epochs": 2, "lr": 0.01},
        "seeds": [3, 5],
    }
    assert document.data["recipe"] == {"epochs": 240}


def test_a_word_that_gets_a_field_becomes_its_name(tmp_path: Path) -> None:
    document = read(tmp_path, GOOD).with_overrides(["dataset.limit=2000"])
    assert document.data["dataset"] == {"name": "digits", "limit": 2000}
    listed = read(tmp_path, "methods: [scratch, {name: ab}, kd]\n")
    changed = listed.with_overrides(["methods.kd.alpha=0.5", "methods.ab.margin=2"])
    assert changed.data["methods"] == [
        "scratch",
        {"name": "ab", "margin": 2},
        {"name": "kd", "alpha": 0.5},
    ]


def test_a_fault_of_an_override_cites_it(tmp_path: Path) -> None:
    document = read(tmp_path, GOOD.replace("kd:", "kd: {}")).with_overrides(
        ["recipe.epochs=two", "dataset.limt=1", "title=3", "recipe={epochs: 1, lr: -1}"]
    )
    with pytest.raises(UserError) as caught:
        document.fail(validate(Suite, document.data)[1] + [Problem(("dataset", "name"), "bad")])
    assert str(caught.value).splitlines()[1:] == [
        "  line 2              dataset.name   bad",
        "  --set dataset.limt  dataset.limt   no such field. Did you mean 'limit'? "
        "Fields: limit, name",
        "  --set recipe        recipe.lr      must be greater than 0, got -1",
        "  --set title         title          expected text, got 3",
    ]


@pytest.mark.parametrize(
    "assignment",
    [
        "recipe.epochs",
        "=2",
        "recipe..epochs=2",
        "a=[1",
        "a={b: 1, b: 2}",
        "seeds.2=1",
        "a=",
        "seeds.x=1",
    ],
)
def test_an_override_that_makes_no_sense_is_refused(tmp_path: Path, assignment: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, GOOD).with_overrides([assignment])
    assert str(caught.value).startswith(f"--set {assignment}: ")


# ---------------------------------------------------------------- the rest


def test_the_canonical_form_is_one_text_a_value() -> None:
    assert (
        canonical_json({"b": [1, 1.0, (True,)], "a": "é"}) == r'{"a":"\u00e9","b":[1,1.0,[true]]}'
    )
    assert short_digest({"a": 1, "b": 2}) == short_digest({"b": 2, "a": 1})
    assert len({short_digest(value) for value in (1, 1.0, "1", True, [1])}) == 5


def test_a_digest_never_changes() -> None:
    assert (
        short_digest({"lr": 0.05, "epochs": 240}) == "a9276f591c"
    )  # printf '{"epochs":240,"lr":0.05}' | sha256sum


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_has_no_canonical_form(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"lr": value})


def test_a_suggestion_names_the_nearest_and_all() -> None:
    assert suggest("Fitnet", ["kd", "fitnets"], "method") == (
        "no such method. Did you mean 'fitnets'? There are: fitnets, kd"
    )
    assert suggest("zzz", [], "suite") == "no such suite. There are: none"


def test_configuration_needs_no_torch() -> None:
    code = (
        "import sys, benchmark.config.validation, benchmark.config.seeds; "
        "import benchmark.store.folder, benchmark.store.environment; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_errors_and_the_store_need_no_pydantic() -> None:
    code = "import sys, benchmark.config.errors, benchmark.store.folder; "
    code += "assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
