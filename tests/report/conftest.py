from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from benchmark.report import load_results, plots
from benchmark.report.results.outcomes import Results
from tests.report.grids import FIELD, METHODS, PAIRS, fail, finish, finish_all, manifest, run_id

LONG = "a_teacher_with_a_name_far_too_long_for_a_title"


@pytest.fixture(scope="session")
def one(tmp_path_factory) -> Results:
    runs = tmp_path_factory.mktemp("one")
    grid = manifest()
    finish_all(runs, grid)
    return load_results(grid, runs)


@pytest.fixture(scope="session")
def six(tmp_path_factory) -> Results:
    """Six pairs with holes, seven methods of which one has a name as long and nasty as any."""
    runs = tmp_path_factory.mktemp("six")
    grid = manifest(
        [*METHODS, "a $x^{$\nlong_ name in two lines & more"],
        [*PAIRS[:5], (LONG, "wrn_40_1")],
        inapplicable={(5, "fsp"): "widths differ"},
        epochs=40,
    )
    finish_all(runs, grid)
    for run in ["1-kd-s1", "2-ab-s0", "2-ab-s1", "2-ab-s2"]:
        (runs / run / "record.json").unlink()
    return load_results(grid, runs)


@pytest.fixture(scope="session")
def eleven(tmp_path_factory) -> Results:
    rows = [*METHODS, "rkd", "at+kd", "vid", "W" * 40, "at untaught"]
    return crowd(tmp_path_factory.mktemp("eleven"), rows, PAIRS[1:2], epochs=240)


@pytest.fixture(scope="session")
def thirty(tmp_path_factory) -> Results:
    """One pair, thirty rows; one trails far behind, two are incomplete, one has nothing to show."""
    return crowd(tmp_path_factory.mktemp("thirty"), FIELD, PAIRS[1:2], epochs=16)


@pytest.fixture(scope="session")
def long_names(tmp_path_factory) -> Results:
    """Eight pairs of fifteen methods; every name has forty letters."""
    runs = tmp_path_factory.mktemp("long")
    rows = ["scratch", "kd", *(f"{name} of a long name ".ljust(40, "W") for name in FIELD[6:19])]
    pairs = [(f"teacher_{i}_".ljust(40, "x"), f"student {i} ".ljust(40, "W")) for i in range(8)]
    grid = manifest(rows, pairs, seeds=[0], epochs=3)
    for column in grid["columns"]:
        column["dataset"] = "data_set_".ljust(40, "M")
    finish_all(runs, grid)
    return load_results(grid, runs)


@pytest.fixture(scope="session")
def brief(tmp_path_factory) -> Results:
    """One epoch, one seed, one pair."""
    return crowd(tmp_path_factory.mktemp("brief"), METHODS, PAIRS[1:2], epochs=1, seeds=[0])


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Results:
    """Seven pairs of eleven rows."""
    rows = [*METHODS, "rkd", "vid", "simkd", "a label of nearly forty letters; no less", "at+kd"]
    pairs = [*PAIRS[:5], (LONG, "wrn_40_1"), ("vgg13", "MobileNetV2")]
    return crowd(tmp_path_factory.mktemp("table"), rows, pairs, epochs=16)


def crowd(runs: Path, rows: list[str], pairs: list[tuple[str, str]], **changes: Any) -> Results:
    grid = manifest(rows, pairs, inapplicable={(0, "fsp"): "widths differ"}, **changes)
    finish_all(runs, grid)
    for seed, top1 in enumerate([41.5, 44.0, 45.5] if "at untaught" in rows else []):
        finish(runs, run_id(0, "at untaught", seed), top1, epochs=grid["epochs"])
    for run in ["0-vid-s1", "0-rkd-s0", "0-rkd-s1", "0-rkd-s2"]:
        if (runs / run / "record.json").exists():
            (runs / run / "record.json").unlink()
            fail(runs, run, "the loss is not a number")
    return load_results(grid, runs)


@pytest.fixture(scope="session")
def pictures(request) -> Callable[[str], dict[str, Figure]]:
    """Return every picture of a suite by its name (`curves-1` if there are several), drawn once."""
    return cache(lambda suite: name_pictures(request.getfixturevalue(suite)))


def name_pictures(results: Results) -> dict[str, Figure]:
    named = {}
    for kind, drawn in plots.figures(results):
        figures = list(drawn)
        for number, figure in enumerate(figures, start=1):
            named[f"{kind}-{number}" if len(figures) > 1 else kind] = figure
    return named
