"""Numbers in `dataset:` that no run could use are refused in the suite file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.config.errors import UserError
from benchmark.config.validation import validate
from benchmark.data import SOURCES, find_data_set
from benchmark.suite.schema import DatasetSection, ProbeSection
from benchmark.suite.suite import Suite
from tests.training.learners import digits, in_memory


def messages(**fields: Any) -> list[str]:
    """The problems of a section, each as `field: message`."""
    section, problems = validate(DatasetSection, {"name": "digits"} | fields, at=("dataset",))
    if section is not None:
        _, problems = section.resolve(SOURCES["digits"])
    return [f"{problem.where[-1]}: {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"validation": 10_000}, "validation: less than the 599 train images of digits"),
        ({"validation": 599}, "validation: less than the 599 train images of digits"),
        ({"padding": 10**22}, "padding: less than the 16 pixels of the images of digits"),
        ({"padding": 16}, "padding: less than the 16 pixels of the images of digits"),
        ({"padding": 16, "fill": "reflect"}, "padding: less than the 16 pixels"),
        ({"size": 100_000}, "size:"),
        ({"limit": 10**22}, "limit:"),
        ({"validation": 10**22}, "validation:"),
        *(
            ({field: value}, f"{field}:")
            for field in ("size", "limit", "validation", "padding")
            for value in (float("nan"), float("inf"), -1, 1.5, "x", True)
        ),
    ],
)
def test_a_number_that_no_run_can_use_is_one_problem_at_its_field(fields, message):
    [problem] = messages(**fields)
    assert problem.startswith(message)


def test_the_largest_numbers_that_make_sense_are_accepted():
    assert messages(validation=598, padding=15, size=2048, limit=10**9) == []


def test_a_probe_has_the_same_bounds():
    for field in ("size", "limit"):
        section = {"protocol": "crd", field: 10**22}
        _, problems = validate(ProbeSection, section, at=("probes", "x"))
        assert field in {problem.where[-1] for problem in problems}


def test_an_image_folder_has_the_same_bound_of_size(tmp_path: Path):
    for size in ("2049", "100000", "9" * 5000):
        with pytest.raises(UserError, match="the size is more than 2048 pixels"):
            find_data_set(f"imagefolder/birds@{size}", tmp_path)


def test_the_number_of_train_images_that_a_source_states_is_that_of_its_images():
    assert SOURCES["digits"].train_images == len(in_memory(digits()).train.labels)


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e999"])
def test_a_number_that_is_not_finite_is_one_error_with_its_line(tmp_path: Path, value: str):
    suite = tmp_path / "small.yaml"
    suite.write_text(f"title: x\ndataset:\n  name: digits\n  limit: {value}\n")
    with pytest.raises(UserError, match=r"1 problem\n  line 4  dataset\.limit +must be a finite"):
        Suite.open(suite, [], tmp_path, needs_code=True, data=tmp_path)
