"""On a real Slurm a suite ends with the same bits as locally, whatever happens to its jobs."""

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

from benchmark.launch.cancel import cancel_suite
from benchmark.launch.logs import newest_logs
from benchmark.launch.slurm_queue import Queue, query_queue, run_slurm_command
from benchmark.launch.status import RunStatus, follow_runs, query_statuses
from benchmark.launch.submissions import read_submissions
from benchmark.store.folder import Store
from tests.job.in_process import grid, perform
from tests.slurm.cluster import Cluster, until
from tests.slurm.scenarios import (
    CHAIN,
    GRID,
    LONG,
    NAME,
    SCENARIOS,
    PlayedScenarios,
    Scenario,
    cancelled,
    failing,
    killed,
    lost_node,
    out_of_time,
    pause_training,
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
) -> Iterator[PlayedScenarios]:
    played = PlayedScenarios(slurm, tmp_path_factory.mktemp("played"))
    yield played
    played.pool.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of all suites, trained in this process."""
    folder = tmp_path_factory.mktemp("expected")
    for text in (GRID, LONG, CHAIN):
        perform(grid(folder, text), folder / "results", folder)
    return results(folder)


def test_the_commands_of_the_docs_do_what_the_docs_say(played: PlayedScenarios):
    answers, _ = played(undisturbed)
    assert {command: answer.code for command, answer in answers.items() if answer.code} == {}, (
        answers
    )
    prepared, submitted, status, log, followed, cancelled, report = answers.values()
    assert "digits" in prepared.text
    assert "9 runs submitted in 5 jobs" in submitted.text
    assert re.search("^(queued|running|blocked): digits-", status.text, re.MULTILINE)
    assert ".out" in log.text
    assert "wrote " in followed.text
    assert "no job is queued or running" in cancelled.text
    assert "resnet14" in report.text


def test_a_suite_over_four_nodes_equals_the_local_one_to_the_bit(
    played: PlayedScenarios, expected: dict[str, Any]
):
    _, nodes = played(undisturbed)
    assert nodes == {"n1", "n2", "n3", "n4"}
    made = results(played.root / "undisturbed" / "checkout")
    assert len(made) == 9
    assert made == {run_id: expected[run_id] for run_id in made}


REQUEUED: list[Scenario] = [warned, out_of_time, preempted, preempted_at_once, requeued, lost_node]


@pytest.mark.parametrize("scenario", REQUEUED)
def test_a_job_that_is_requeued_goes_on_to_the_same_bits(
    scenario: Scenario, played: PlayedScenarios, expected: dict[str, Any]
):
    played(scenario)
    made = played.results(scenario)
    assert len(made) == (2 if scenario is warned else 1)
    assert made == {run_id: expected[run_id] for run_id in made}


def test_a_student_waits_for_a_teacher_that_is_requeued(played: PlayedScenarios):
    played(warned)
    methods = [run["config"]["method"]["name"] for run in played.results(warned).values()]
    assert sorted(methods) == ["kd", "scratch"]


@pytest.mark.parametrize("scenario", [warned, out_of_time, preempted])
def test_each_warning_requeues_a_job_with_its_claims_released(
    scenario: Scenario, played: PlayedScenarios
):
    count = played(scenario)
    assert count >= 1  # on a slow machine Slurm may warn of the time limit again
    folder = played.root / scenario.__name__ / "results"
    [run_id] = (run_id for run_id in newest_logs(folder) if "-scratch-" in run_id)
    log = newest_logs(folder)[run_id].read_text()
    assert log.count("Calling checkpoint method") == count
    assert ("this job is timed-out" in log) == (scenario is out_of_time)
    assert log.count("epoch 15/15") == 1
    assert log.count("epoch 1/15") == 1


def test_a_job_that_is_stopped_without_a_warning_releases_its_claims(played: PlayedScenarios):
    assert played(requeued) is False


def test_a_run_whose_node_died_is_queued_not_lost(played: PlayedScenarios):
    assert played(lost_node).status == "queued"


def test_a_killed_job_leaves_its_run_failed_with_its_log_and_is_tried_again(
    played: PlayedScenarios, expected: dict[str, Any]
):
    status, failure, log = played(killed)
    assert status == "failed"
    assert failure["kind"] == "died"
    assert "the job ended (signal 9)" in failure["message"]
    assert "epoch 1/15" in log
    [(run_id, record)] = played.results(killed).items()
    assert record == expected[run_id]


def test_a_cancelled_suite_releases_its_claims_and_goes_on_when_asked(
    played: PlayedScenarios, expected: dict[str, Any]
):
    task, done, status, state = played(cancelled)
    # All nodes are this machine, so a second line may name the process if it still runs.
    assert done.stdout.startswith(f"{NAME}: cancelled job arrays in the queue: {task}\n"), (
        done.stderr
    )
    assert (status, state) == ("ready", "waiting")
    [(run_id, record)] = played.results(cancelled).items()
    assert record == expected[run_id]


def test_a_method_that_fails_fails_alone(played: PlayedScenarios):
    runs, found = played(failing)
    statuses = {runs[run_id].student: status.status for run_id, status in found.items()}
    assert statuses == {"resnet14": "done", "resnet8": "failed"}


def test_when_two_people_submit_at_once_one_finds_everything_queued(
    played: PlayedScenarios, expected: dict[str, Any]
):
    runs, tasks = played(two_at_once)
    assert sorted(tasks) == [0, 1]
    assert played.results(two_at_once) == {run_id: expected[run_id] for run_id in runs}


def test_a_run_that_is_queued_twice_is_done_once(played: PlayedScenarios, expected: dict[str, Any]):
    first, second, left_alone = played(submitted_twice)
    assert first != second
    [(run_id, record)] = played.results(submitted_twice).items()
    assert record == expected[run_id]
    assert left_alone != [True, True]


def test_an_array_is_split_at_the_clusters_limit(slurm: Cluster, environment: None, tmp_path: Path):
    runs = runs_of(tmp_path, GRID.replace("[0, 1, 2, 3]", str([*range(34)])).replace(", kd: ", ""))
    submit(tmp_path, runs, slurm_additional_parameters={"hold": True})
    [submission] = read_submissions(tmp_path / "results").values()
    arrays = [task.id.partition("_")[0] for task in submission.tasks]
    assert sorted(map(arrays.count, {*arrays})) == [1, 33]
    found = query_statuses(runs, Store(tmp_path / "results"))
    assert {*found.values()} == {RunStatus("queued", "JobHeldUser")}
    assert submit(tmp_path, runs) == []
    assert len(cancel_suite(tmp_path / "results", NAME, "0", runs).arrays) == 2
    assert query_queue(submission.tasks) == {}


def test_a_restart_of_the_controller_is_waited_for(
    slurm: Cluster, played: PlayedScenarios, expected: dict[str, Any], tmp_path: Path
):
    for scenario in SCENARIOS:
        played(scenario)  # no other scenario may run meanwhile
    runs = runs_of(tmp_path, LONG)
    submit(tmp_path, runs)
    pid = pause_training(tmp_path)
    [submission] = read_submissions(tmp_path / "results").values()
    # The database learns of a job's start a moment after the start; without the controller, never.
    job = submission.tasks[0].id
    ask = ("sacct", "--allocations", "--noheader", "--format=state", f"--jobs={job}")
    until("sacct knows that it runs", lambda: slurm.run(*ask).strip() == "RUNNING", 90)

    def meanwhile() -> tuple[str | None, Queue | None]:
        time.sleep(3)
        return run_slurm_command("squeue"), query_queue(submission.tasks)

    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(slurm.restart_controller, meanwhile)
        restarted.add_done_callback(lambda _: os.kill(pid, signal.SIGCONT))
        found = follow_runs(runs, Store(tmp_path / "results"), lambda statuses: None)
        by_squeue, by_sacct = restarted.result(60)
    assert by_squeue is None
    assert by_sacct is not None
    assert {task: queued.state for task, queued in by_sacct.items()} == {
        submission.tasks[0].id: "RUNNING"
    }
    assert {status.status for status in found.values()} == {"done"}
    [(run_id, record)] = results(tmp_path).items()
    assert record == expected[run_id]
