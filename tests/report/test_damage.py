"""Every file of a run folder, damaged in every way: the report and `show` go on without it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.report import load_results, render_tables, tabulate
from benchmark.report.run_account import describe_run
from tests.report.grids import finish_all, manifest, run_id

RUN = run_id(0, "kd", 0)
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(b'{"schema": 1, "id"'),
    "list": lambda path: path.write_bytes(b"[]"),
    "null": lambda path: path.write_bytes(b"null"),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "digits": lambda path: path.write_bytes(b"1" * 6000),
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "circle": lambda path: path.symlink_to(path),
}
VALUES: list[object] = [
    None,
    "text",
    [],
    {},
    float("nan"),
    float("inf"),
    -1e308,
    1e308,
    10**30,
    -1,
    True,
]


def read_all(results: Path) -> None:
    """Make all tables, and describe the run."""
    found = load_results(manifest(["scratch", "kd"]), results / "runs")
    assert [o.state for o in found.students[0, "scratch"]] == ["done"] * 3
    assert render_tables(found, tabulate(found))
    assert list(describe_run(RUN, results, results))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["record.json", "failure.json", "config.json", "predictions.npy"])
def test_a_file_that_is_damaged_in_any_way_stops_nothing(tmp_path: Path, name: str, damage: str):
    finish_all(tmp_path / "runs", manifest(["scratch", "kd"]))
    folder = tmp_path / "runs" / RUN
    if name == "failure.json":
        (folder / "record.json").unlink()
    (folder / name).unlink(missing_ok=True)
    DAMAGES[damage](folder / name)
    read_all(tmp_path)


def test_a_value_of_another_kind_in_any_field_of_a_record_stops_nothing(tmp_path: Path):
    finish_all(tmp_path / "runs", manifest(["scratch", "kd"], epochs=1))
    path = tmp_path / "runs" / RUN / "record.json"
    content = json.loads(path.read_text())
    fields = [(part, key) for part in ("result", "cost", "measures") for key in content[part]]
    for number, (part, key) in enumerate(fields):
        value = VALUES[number % len(VALUES)]
        path.write_text(json.dumps(content | {part: content[part] | {key: value}}))
        load_results(manifest(["kd"]), tmp_path / "runs")
        assert list(describe_run(RUN, tmp_path, tmp_path))
        if number % 5 == 0:
            read_all(tmp_path)
    for value in VALUES:
        for part in ("history", "config", "teacher", "started", "schema", "kind"):
            path.write_text(json.dumps(content | {part: value}))
            load_results(manifest(["kd"]), tmp_path / "runs")
            assert list(describe_run(RUN, tmp_path, tmp_path))
