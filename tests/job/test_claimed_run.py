"""Which runs a job claims, and what it does when they do not fit into memory."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config.runs import needed_ids
from benchmark.job import claimed_run
from benchmark.job.file import Job
from benchmark.store import claim as claims
from benchmark.store.claim import Claim, claim_run, read_claim
from benchmark.store.folder import Store
from benchmark.training import cohort, learner
from tests.job import in_process

SUITE = """
title: a test
dataset: {name: digits, limit: 48}
pairs: [resnet14 -> resnet8]
methods:
  scratch:
  kd:
  at:
  sp:
seeds: [0]
recipe: {epochs: 2, batch_size: 16, lr: 0.05}
"""


def elsewhere(folder: Path, age: float) -> None:
    """Make a claim look like another machine's, with a heartbeat so many seconds old."""
    mine = claim_run(folder)
    assert mine is not None
    path = folder / "claim.json"
    said = json.loads(path.read_text())
    said |= {"machine": "another", "heartbeat": time.time() - age, "token": "theirs"}
    path.write_text(json.dumps(said))


def test_the_claim_of_a_dead_node_is_waited_for_and_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "STALE_SECONDS", 1.5)
    elsewhere(tmp_path, age=0.5)
    assert claim_run(tmp_path) is None
    [mine] = claimed_run.claim_folders([tmp_path], contextlib.ExitStack(), pause=0.1)
    assert mine is not None


def test_the_claim_of_a_living_node_is_left_alone_as_soon_as_its_heart_beats(tmp_path):
    elsewhere(tmp_path, age=10)

    def beat() -> None:
        path = tmp_path / "claim.json"
        said = json.loads(path.read_text())
        path.write_text(json.dumps(said | {"heartbeat": time.time()}))

    threading.Timer(0.3, beat).start()
    began = time.monotonic()
    assert claimed_run.claim_folders([tmp_path], contextlib.ExitStack(), pause=0.05) == [None]
    assert time.monotonic() - began < 5
    there = read_claim(tmp_path)
    assert there is not None
    assert there.token == "theirs"


def test_a_claim_that_is_given_back_meanwhile_is_taken(tmp_path):
    elsewhere(tmp_path, age=0)
    threading.Timer(0.2, (tmp_path / "claim.json").unlink).start()
    [mine] = claimed_run.claim_folders([tmp_path], contextlib.ExitStack(), pause=0.05)
    assert mine is not None


def test_nobody_waits_for_a_process_of_the_same_machine(tmp_path):
    held = claim_run(tmp_path)
    assert held is not None
    began = time.monotonic()
    assert claimed_run.claim_folders([tmp_path], contextlib.ExitStack(), pause=5) == [None]
    assert time.monotonic() - began < 1


def test_a_run_whose_teacher_is_not_done_is_left_for_later(tmp_path, capsys):
    made = in_process.grid(tmp_path, SUITE)
    store = Store(tmp_path / "results")
    for run in made.runs().values():
        store.run(run.id).write_config(run.as_json())
    ids = {cell.method: cell.run.id for cell in made.cells if cell.run}
    asked = Job([ids["scratch"], ids["kd"]], str(store.root), str(tmp_path), "cpu")
    with contextlib.ExitStack() as held:
        taken = [part.run.id for part in claimed_run.claim_runs(asked, store, held)]
        assert store.run(ids["kd"]).state() == "waiting"
    assert taken == [ids["scratch"]]
    assert f"{ids['kd']} waits" in capsys.readouterr().out


def numbers(store: Store, run_id: str) -> tuple[Any, ...]:
    """All of a record that must not depend on a run's company."""
    record = store.run(run_id).read_record()
    places = "epoch", "phase", "lr", "losses", "top1", "top5", "test_loss"
    history = [[row[place] for place in places] for row in record["history"]]
    return record["weights"], record["result"], record["teacher"], history


def test_a_baseline_and_distillers_end_with_the_bits_of_each_alone(tmp_path):
    made = in_process.grid(tmp_path, SUITE.replace("at:\n  sp:", "fitnets:"))
    runs = made.runs()
    [teacher] = needed_ids(runs.values())
    students = [run_id for run_id in runs if run_id != teacher]
    apart, together = Store(tmp_path / "apart"), Store(tmp_path / "together")
    for store, cohorts in ((apart, [[one] for one in students]), (together, [students])):
        for run in runs.values():
            store.run(run.id).write_config(run.as_json())
        for members in [[teacher], *cohorts]:
            in_process.do(members, store, store.root, tmp_path)
    assert [len(runs[one].needs) for one in students] == [0, 1, 1]
    for run_id in students:
        assert numbers(apart, run_id) == numbers(together, run_id)


@pytest.fixture
def small_memory(monkeypatch):
    """A device that has no room for more than two learners."""
    real = cohort.train_epoch

    def train_epoch(turn, *arguments):
        if len(turn) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        real(turn, *arguments)

    monkeypatch.setattr(cohort, "train_epoch", train_epoch)


def test_a_cohort_that_runs_out_of_memory_is_halved_and_its_numbers_stay(
    tmp_path, small_memory, capsys, monkeypatch
):
    made = in_process.grid(tmp_path, SUITE)
    store = in_process.perform(made, tmp_path / "halved")
    assert "out of memory with 4 learners: going on with 2 at a time" in capsys.readouterr().out
    monkeypatch.undo()
    whole = in_process.perform(made, tmp_path / "whole")
    halved = {}
    for run_id in made.runs():
        ours, theirs = (where.run(run_id).read_record() for where in (store, whole))
        assert ours["weights"] == theirs["weights"]
        assert ours["result"] == theirs["result"]
        halved[ours["config"]["method"]["name"], ours["config"]["student"]] = ours["cost"]["halved"]
    assert halved["kd", "resnet8"] == 1
    assert halved["scratch", "resnet14"] == 0


def test_one_learner_that_does_not_fit_fails_and_says_so(tmp_path, monkeypatch):
    def step(*_arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    made = in_process.grid(tmp_path, SUITE)
    monkeypatch.setattr(learner.Learner, "step", step)
    with pytest.raises(torch.OutOfMemoryError):
        in_process.perform(made, tmp_path / "results")


def test_a_claim_is_released_if_an_interrupt_comes_while_it_is_made(tmp_path, monkeypatch):
    def interrupted(folder: Path) -> Claim | None:
        claim = claim_run(folder)
        signal.raise_signal(signal.SIGINT)
        return claim

    monkeypatch.setattr(claimed_run, "claim_run", interrupted)
    with pytest.raises(KeyboardInterrupt), contextlib.ExitStack() as stack:
        claimed_run.claim_folders([tmp_path], stack)
    assert read_claim(tmp_path) is None
