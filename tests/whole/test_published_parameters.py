"""A published number is compared only with a run whose parameters are those of its source.

`results/published/parameters.csv` states the parameters of every source, by our names, with the
file of the source that has them.
"""

import csv
import json
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import methods
from benchmark.config.document import load_document
from benchmark.report.results.published import PUBLISHED_FOLDER, PublishedValue, load_published
from benchmark.suite.grid import as_published
from benchmark.suite.rows import Row, parse_rows

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


class Stated(NamedTuple):
    parameters: dict[str, Any]
    unstated: set[str]
    """Parameters without effect in this configuration, or which the source does not have."""


def parsed(text: str) -> dict[str, Any]:
    """`alpha = 0.5; temperature = 1` as a dictionary."""
    pairs = (part.split(" = ", 1) for part in text.split("; ") if part)
    return {name: json.loads(value) for name, value in pairs}


def stated() -> dict[tuple[str, str, str], Stated]:
    with (PUBLISHED_FOLDER / "parameters.csv").open(newline="") as file:
        lines = list(csv.DictReader(file, strict=True))
    assert all(line["where"] for line in lines)
    return {
        (line["source"], line["dataset"], line["method"]): Stated(
            parsed(line["stated"]), set(filter(None, line["unstated"].split("; ")))
        )
        for line in lines
    }


def key_of(value: PublishedValue) -> tuple[str, str, str]:
    return value.source, value.dataset, value.method


def row_of(method: str) -> Row | None:
    """The row that a published number is compared with; None if the suite has no such method."""
    text, _, changed = method.partition("; ")
    try:
        methods.parse(text)
    except methods.UnknownMethod:
        return None
    [row] = parse_rows({"row": {"method": text, **parsed(changed)}})
    assert as_published(row) == ("row", method), "no row of a suite has this name"
    return row


def compared() -> dict[tuple[str, str, str], Row]:
    """The row of every published number that a difference is taken from."""
    values = load_published(PUBLISHED_FOLDER).values
    keys = dict.fromkeys(key_of(value) for value in values if not value.status)
    rows = {key: row_of(key[2]) for key in keys}
    return {key: row for key, row in rows.items() if row is not None}


@pytest.mark.parametrize("key", sorted(compared()), ids=" ".join)
def test_a_difference_is_taken_only_from_a_run_with_the_parameters_of_the_source(
    key: tuple[str, str, str],
):
    row, source = compared()[key], stated()[key]
    values = {one.name: getattr(row.parameters, one.name) for one in fields(row.parameters)}
    assert source.parameters.keys() | source.unstated == values.keys()
    assert not source.parameters.keys() & source.unstated
    assert {name: values[name] for name in source.parameters} == source.parameters


def test_no_parameters_are_stated_for_numbers_that_are_not_compared():
    assert stated().keys() == compared().keys()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_row_of_a_shipped_suite_is_compared_under_its_own_configuration(config: Path):
    suite = load_document(config).data
    rows = compared()
    for row in parse_rows(suite["methods"]):
        name = as_published(row)[1]
        for key, other in rows.items():
            if key[2] == name:
                assert row.config == other.config, key


BETAS = {8.0: 5, 6.0: 4, 2.0: 2}


def test_dkd_is_compared_at_the_beta_of_each_pair():
    values = load_published(PUBLISHED_FOLDER).values
    cells = [v for v in values if v.source == "dkd-cifar" and v.method.startswith("dkd")]
    rows = [row_of(value.method) for value in cells]
    betas = [row.parameters.beta for row in rows if row is not None]
    assert {beta: betas.count(beta) for beta in set(betas)} == BETAS


def test_at_papers_wide_resnets_are_compared_with_the_maps_that_its_code_reads():
    values = load_published(PUBLISHED_FOLDER).values
    names = {v.method for v in values if v.source == "at-paper" and v.method.startswith("at")}
    assert names == {"at@crd"}
