"""Plug-ins of a suite: who may name them, and that a results folder may not."""

import hashlib
import json
from pathlib import Path

import pytest

from benchmark.cli.suites import check_plugins_are_unchanged
from benchmark.config.errors import UserError
from benchmark.suite.suite import Suite
from tests.methods.plugin import WORKING
from tests.report.grids import record

SUITE = """
title: a test
dataset: {name: digits, limit: 64}
pairs: [resnet14 -> resnet8]
methods: {mine: }
seeds: [0]
recipe: {epochs: 1, batch_size: 32, lr: 0.05}
"""
MARKED = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n" + WORKING


def write(tmp_path: Path, text: str = SUITE, source: str = MARKED) -> tuple[Path, Path]:
    """Return a suite file and a plug-in that leaves the file `ran` beside it when it is run."""
    suite, plugin = tmp_path / "small.yaml", tmp_path / "plugins" / "mine.py"
    plugin.parent.mkdir()
    suite.write_text(text)
    plugin.write_text(source)
    return suite, plugin


def open_suite(path: Path, *plugins: Path, needs_code: bool = True) -> Suite:
    """Open a suite with its results and data beside it."""
    folder = path.parent
    return Suite.open(path, [], folder / "results", needs_code, plugins, data=folder)


def make_stale(path: Path) -> None:
    """Change the manifest, so that it seems to be of other code."""
    [file] = (path.parent / "results" / "suites").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"code": "other"}))


def test_a_plugin_that_only_the_results_folder_names_is_never_run(tmp_path: Path):
    path, plugin = write(tmp_path)
    planned = open_suite(path, plugin)
    assert planned.plugins == (str(plugin),)
    make_stale(path)
    (plugin.parent / "ran").unlink()
    opened = open_suite(path, needs_code=False)
    assert opened.manifest["cells"] == planned.manifest["cells"]
    assert opened.plugins == ()
    with pytest.raises(UserError, match=r"(?s)no such method.*--plugin mine\.py.*name them again"):
        open_suite(path)
    assert not (plugin.parent / "ran").exists()
    assert open_suite(path, plugin).plugins == (str(plugin),)
    assert (plugin.parent / "ran").exists()


def test_a_suite_file_may_name_its_plugins_relative_to_itself(tmp_path: Path):
    path, plugin = write(tmp_path, SUITE + "plugins: [plugins/mine.py]\n")
    assert open_suite(path).plugins == (str(plugin),)
    assert open_suite(path, plugin).plugins == (str(plugin),)
    plugin.unlink()
    with pytest.raises(UserError, match=r"plugins: plugins/mine\.py: no such file"):
        open_suite(path)


@pytest.mark.parametrize("value", ["mine.py", "[1]", "{a: b}"])
def test_plugins_that_are_no_list_of_files_are_a_mistake_with_its_line(tmp_path: Path, value: str):
    path, plugin = write(tmp_path, SUITE + f"plugins: {value}\n")
    with pytest.raises(UserError, match=r"line 8  plugins"):
        open_suite(path, plugin)


def test_a_run_is_not_trained_beside_one_of_another_version_of_its_plugin(tmp_path: Path):
    path, plugin = write(tmp_path)
    suite = open_suite(path, plugin)
    run_id = next(run_id for run_id in suite.manifest["runs"] if "-mine-" in run_id)
    made = record(run_id, 90.0, []) | {"config": suite.select("")[run_id].as_json()}
    suite.store.run(run_id).path.mkdir(parents=True)
    seal = hashlib.sha256(plugin.read_bytes()).hexdigest()
    suite.store.run(run_id).write_record(made | {"plugins": {"mine.py": seal}})
    check_plugins_are_unchanged(suite)
    plugin.write_text(plugin.read_text() + "# edited")
    with pytest.raises(UserError, match=r"the plug-in mine\.py has changed since"):
        check_plugins_are_unchanged(suite)
