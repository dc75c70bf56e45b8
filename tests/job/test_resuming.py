"""What is checked before a run goes on from a checkpoint, and what its record says of it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark.job import resuming
from benchmark.job.claimed_run import ClaimedRun, JobContext, claim_runs
from benchmark.job.file import Job
from benchmark.job.recording import serialise
from benchmark.store.folder import RunFolder, Store
from tests.job import in_process
from tests.methods.plugin import METHOD, clean

__all__ = ["clean"]  # the fixture

SUITE = """
title: a test
dataset: {name: digits, limit: 48}
pairs: [resnet14 -> resnet8]
methods: {scratch: {}}
seeds: [0, 1]
recipe: {epochs: 2, batch_size: 16, lr: 0.05}
"""


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished runs keep their checkpoints, as if the job had died just before the record."""
    monkeypatch.setattr(RunFolder, "discard_checkpoints", lambda _: None)


def train(tmp_path: Path, text: str = SUITE) -> list[RunFolder]:
    """Do a suite's runs; return their folders."""
    made = in_process.grid(tmp_path, text)
    store = in_process.perform(made, tmp_path / "results")
    return [store.run(run_id) for run_id in made.runs()]


def again(tmp_path: Path, *folders: RunFolder) -> None:
    """Do runs again from their checkpoints."""
    results = tmp_path / "results"
    for folder in folders:
        folder.record.unlink(missing_ok=True)
        in_process.do([folder.path.name], Store(results), results, tmp_path)


def content(folder: RunFolder) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(folder.record.read_bytes())
    return record


def change_checkpoint(folder: RunFolder, change: Any) -> None:
    """Apply a function to the state in a run's checkpoint."""
    found = folder.load_checkpoint()
    assert found is not None
    folder.checkpoint.write_bytes(found.payload)
    state = torch.load(folder.checkpoint, weights_only=True)
    change(state)
    folder.save_checkpoint(serialise(state))


def test_checkpoints_of_two_seeds_that_were_exchanged_are_not_gone_on_from(
    tmp_path: Path, kept: None, capfd: pytest.CaptureFixture[str]
):
    first, second = train(tmp_path)
    before = [content(folder)["history"][-1]["losses"] for folder in (first, second)]
    spare = tmp_path / "spare"
    for folder in (first, second):
        folder.previous_checkpoint.unlink()
    first.checkpoint.rename(spare)
    second.checkpoint.rename(first.checkpoint)
    spare.rename(second.checkpoint)
    again(tmp_path, first, second)
    assert [content(folder)["history"][-1]["losses"] for folder in (first, second)] == before
    log = capfd.readouterr().out
    assert log.count("is a checkpoint of another run") == 2
    assert f"{first.path.name} starts from the beginning" in log


def test_a_resumed_run_names_the_environments_of_all_its_attempts(
    tmp_path: Path, kept: None, monkeypatch: pytest.MonkeyPatch
):
    first, second = train(tmp_path)
    assert "earlier_environments" not in content(first)
    here = content(first)["environment"]["host"]
    for host in ("node-b", "node-c"):
        monkeypatch.setattr("benchmark.store.environment.socket.gethostname", lambda h=host: h)
        resuming.describe_environment_once.cache_clear()
        again(tmp_path, first)
        change_checkpoint(first, lambda state, h=host: add_environment(state, h))
    record = content(first)
    assert record["environment"]["host"] == "node-c"
    assert [e["host"] for e in record["earlier_environments"]] == [here, "node-b"]
    assert "earlier_environments" not in content(second)
    resuming.describe_environment_once.cache_clear()


def add_environment(state: dict[str, Any], host: str) -> None:
    """Add what the next checkpoint of a job on ``host`` would hold."""
    state["environments"].append(state["environments"][0] | {"host": host})


def test_a_checkpoint_of_other_code_with_more_fields_still_makes_a_record(
    tmp_path: Path, kept: None
):
    folder, _ = train(tmp_path)
    history = content(folder)["history"]

    def change(state: dict[str, Any]) -> None:
        for row in state["learner"]["history"]:
            row["a field of another version"] = 1
        for name in ("plugins", "processes", "environments"):
            del state[name]

    change_checkpoint(folder, change)
    again(tmp_path, folder)
    assert content(folder)["history"] == history


def test_a_run_does_not_go_on_with_another_number_of_processes(tmp_path: Path, kept: None):
    folder, _ = train(tmp_path)
    change_checkpoint(folder, lambda state: state.update(processes=2))
    again(tmp_path, folder)
    assert folder.state() == "failed"
    message = folder.read_failure()["message"]
    assert "was written by a job of 2 processes, and this job has 1" in message
    assert f"remove {folder.path}/checkpoint*.pt" in message


def test_a_run_does_not_go_on_with_a_plugin_that_has_changed(
    tmp_path: Path, kept: None, clean: None
):
    plugin = tmp_path / "mine.py"
    plugin.write_text(METHOD.format(name="mine"))
    methods.add_file(plugin)
    folders = train(tmp_path, SUITE.replace("scratch", "mine"))
    folder = next(f for f in folders if "mine" in f.path.name)
    sources = methods.plugin_sources("mine")
    assert content(folder)["plugins"] == sources
    plugin.write_text(plugin.read_text() + "\n# edited\n")
    methods.add_file(plugin)
    again(tmp_path, folder)
    assert folder.state() == "failed"
    assert "the plug-in mine.py has changed" in folder.read_failure()["message"]
    folder.clear_failure()
    for file in folder.path.glob("checkpoint*.pt"):
        file.unlink()
    again(tmp_path, folder)
    assert content(folder)["plugins"] == methods.plugin_sources("mine") != sources


def test_a_configuration_in_another_runs_folder_is_not_trained(tmp_path: Path):
    first, second = train(tmp_path)
    for folder in (first, second):
        folder.record.unlink()
    second.config.write_bytes(first.config.read_bytes())
    results = tmp_path / "results"
    job = Job([second.path.name], str(results), str(tmp_path), "cpu")
    context = JobContext(job, Store(results), torch.device("cpu"))
    with contextlib.ExitStack() as stack:
        claimed: list[ClaimedRun] = list(claim_runs(job, context.store, stack))
    assert not claimed
    message = second.read_failure()["message"]
    assert f"it is the configuration of {first.path.name}" in message
