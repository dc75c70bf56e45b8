"""On a real Slurm a suite ends with the same bits as here, whatever happens on the way."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmark.launch.cancel import cancel
from benchmark.launch.logs import logs_of
from benchmark.launch.slurm_queue import Queue, ask, told
from benchmark.launch.status import Standing, follow, look
from benchmark.launch.submissions import submissions
from benchmark.store.folder import Store
from tests.job.in_process import grid, perform
from tests.slurm.cluster import Cluster
from tests.slurm.scenarios import (
    CHAIN,
    GRID,
    LONG,
    NAME,
    SCENARIOS,
    Played,
    Scenario,
    cancelled,
    caught,
    failing,
    killed,
    lost_node,
    out_of_time,
    preempted,
    preempted_at_once,
    requeued,
    results,
    runs_of,
    submit,
    submitted_twice,
    two_at_once,
    undisturbed,
    warned,
)

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def played(
    slurm: Cluster, environment: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    played = Played(slurm, tmp_path_factory.mktemp("played"))
    yield played
    played.pool.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every run of all suites here, in this process."""
    folder = tmp_path_factory.mktemp("expected")
    for text in (GRID, LONG, CHAIN):
        perform(grid(folder, text), folder / "results", folder)
    return results(folder)


def test_every_command_of_the_page_does_what_the_page_says(played: Played):
    said, _ = played(undisturbed)
    assert {command: told.code for command, told in said.items() if told.code} == {}, said
    prepared, submitted, status, log, followed, cancelled, report = said.values()
    assert "digits" in prepared.text
    assert "9 runs submitted in 5 jobs" in submitted.text
    assert re.search("^(queued|running|blocked): digits-", status.text, re.MULTILINE)
    assert ".out" in log.text
    assert "wrote " in followed.text
    assert "no job of it is queued or running" in cancelled.text
    assert "resnet14" in report.text


def test_a_suite_over_four_nodes_equals_the_local_one_to_the_bit(
    played: Played, expected: dict[str, Any]
):
    _, nodes = played(undisturbed)
    assert nodes == {"n1", "n2", "n3", "n4"}
    made = results(played.root / "undisturbed" / "checkout")
    assert len(made) == 9
    assert made == {run_id: expected[run_id] for run_id in made}


REQUEUED: list[Scenario] = [warned, out_of_time, preempted, preempted_at_once, requeued, lost_node]


@pytest.mark.parametrize("scenario", REQUEUED)
def test_a_job_that_is_requeued_goes_on_to_the_same_bits(
    scenario: Scenario, played: Played, expected: dict[str, Any]
):
    played(scenario)
    made = played.results(scenario)
    assert len(made) == (2 if scenario is warned else 1)
    assert made == {run_id: expected[run_id] for run_id in made}


def test_a_student_waits_for_a_teacher_that_is_requeued(played: Played):
    played(warned)
    methods = [run["config"]["method"]["name"] for run in played.results(warned).values()]
    assert sorted(methods) == ["kd", "scratch"]


@pytest.mark.parametrize("scenario", [warned, out_of_time, preempted])
def test_each_warning_requeues_a_job_with_its_claims_released(scenario: Scenario, played: Played):
    count = played(scenario)
    assert count >= 1  # where the machine is slow, Slurm may warn of a minute's end again
    folder = played.root / scenario.__name__ / "results"
    [run_id] = (run_id for run_id in logs_of(folder) if "-scratch-" in run_id)
    log = logs_of(folder)[run_id].read_text()
    assert log.count("Calling checkpoint method") == count
    assert ("this job is timed-out" in log) == (scenario is out_of_time)
    assert log.count("epoch 15/15") == 1
    assert log.count("epoch 1/15") == 1


def test_a_job_that_is_stopped_without_a_warning_releases_its_claims(played: Played):
    assert played(requeued) is False


def test_a_run_whose_node_died_is_queued_not_lost(played: Played):
    assert played(lost_node).status == "queued"


def test_a_killed_job_leaves_its_run_failed_with_its_log_and_is_tried_again(
    played: Played, expected: dict[str, Any]
):
    status, failure, log = played(killed)
    assert status == "failed"
    assert failure["kind"] == "died"
    assert "the job ended (signal 9)" in failure["message"]
    assert "epoch 1/15" in log
    [(run_id, record)] = played.results(killed).items()
    assert record == expected[run_id]


def test_a_cancelled_suite_releases_its_claims_and_goes_on_when_asked(
    played: Played, expected: dict[str, Any]
):
    task, done, status, state = played(cancelled)
    # All nodes are this machine: a second line may name the process, if it has not ended yet.
    assert done.stdout.startswith(f"{NAME}: cancelled in the queue: {task}\n"), done.stderr
    assert (status, state) == ("ready", "waiting")
    [(run_id, record)] = played.results(cancelled).items()
    assert record == expected[run_id]


def test_a_method_that_fails_fails_alone(played: Played):
    runs, found = played(failing)
    stand = {runs[run_id].student: standing.status for run_id, standing in found.items()}
    assert stand == {"resnet14": "done", "resnet8": "failed"}


def test_of_two_people_who_submit_at_once_one_finds_all_queued(
    played: Played, expected: dict[str, Any]
):
    runs, tasks = played(two_at_once)
    assert sorted(tasks) == [0, 1]
    assert played.results(two_at_once) == {run_id: expected[run_id] for run_id in runs}


def test_a_run_that_is_queued_twice_is_done_once(played: Played, expected: dict[str, Any]):
    first, second, left_alone = played(submitted_twice)
    assert first != second
    [(run_id, record)] = played.results(submitted_twice).items()
    assert record == expected[run_id]
    assert left_alone != [True, True]


def test_an_array_is_cut_where_the_cluster_cuts_it(
    slurm: Cluster, environment: None, tmp_path: Path
):
    runs = runs_of(tmp_path, GRID.replace("[0, 1, 2, 3]", str([*range(34)])).replace(", kd: ", ""))
    submit(tmp_path, runs, slurm_additional_parameters={"hold": True})
    [note] = submissions(tmp_path / "results").values()
    arrays = [task.id.partition("_")[0] for task in note.tasks]
    assert sorted(map(arrays.count, {*arrays})) == [1, 33]
    found = look(runs, Store(tmp_path / "results"))
    assert {*found.values()} == {Standing("queued", "JobHeldUser")}
    assert submit(tmp_path, runs) == []
    assert len(cancel(tmp_path / "results", NAME, runs).arrays) == 2
    assert ask(note.tasks) == {}


def test_a_controller_that_is_away_for_a_while_is_waited_for(
    slurm: Cluster, played: Played, expected: dict[str, Any], tmp_path: Path
):
    for scenario in SCENARIOS:
        played(scenario)  # no other may meet this
    runs = runs_of(tmp_path, LONG)
    submit(tmp_path, runs)
    pid = caught(tmp_path)
    [note] = submissions(tmp_path / "results").values()

    def meanwhile() -> tuple[str | None, Queue | None]:
        time.sleep(3)
        return told("squeue"), ask(note.tasks)

    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(slurm.restart_controller, meanwhile)
        restarted.add_done_callback(lambda _: os.kill(pid, signal.SIGCONT))
        found = follow(runs, Store(tmp_path / "results"), lambda statuses: None)
        by_squeue, by_sacct = restarted.result(60)
    assert by_squeue is None
    assert by_sacct is not None
    assert {task: queued.state for task, queued in by_sacct.items()} == {
        note.tasks[0].id: "RUNNING"
    }
    assert {standing.status for standing in found.values()} == {"done"}
    [(run_id, record)] = results(tmp_path).items()
    assert record == expected[run_id]
