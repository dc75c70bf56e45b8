"""On a real Slurm, the tasks of a job train together, and a job sees only its own GPUs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from benchmark.launch.cancel import cancel_suite
from benchmark.launch.logs import newest_logs
from benchmark.launch.slurm_queue import query_queue
from benchmark.launch.submissions import read_submissions
from benchmark.store.folder import Store
from tests.cli.command import is_job, start, suite
from tests.slurm.cluster import Cluster, until
from tests.slurm.processes import processes
from tests.slurm.scenarios import (
    LONG,
    NAME,
    pause_training,
    restarts,
    results,
    runs_of,
    submit,
    wait,
)

pytestmark = pytest.mark.slurm
LOCAL = "{launcher: local, device: cpu, workers: 1, processes: 2}"


def read_environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def job_environments(slurm: Cluster, task: str) -> list[dict[str, str]]:
    """Return the environments of an array's training processes, with their ids as `PID`."""
    found = [
        read_environment(pid) | {"PID": str(pid)} for pid in processes(slurm.folder) if is_job(pid)
    ]
    array = task.partition("_")[0]
    return [one for one in found if one.get("SLURM_ARRAY_JOB_ID", one["SLURM_JOB_ID"]) == array]


@pytest.fixture(scope="module")
def two_nodes(
    slurm: Cluster, environment: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A run on two nodes: first one of its processes is killed; the next attempt is warned."""
    folder = tmp_path_factory.mktemp("two")
    found: dict[str, Any] = {}
    runs = runs_of(folder, LONG)
    [run_id] = runs
    [task] = submit(folder, runs, nodes=2)
    leader = pause_training(folder)
    pair = sorted(job_environments(slurm, task), key=lambda one: one["RANK"])
    found["nodes"] = [one["SLURMD_NODENAME"] for one in pair]
    os.kill(int(pair[1]["PID"]), signal.SIGKILL)
    os.kill(leader, signal.SIGCONT)
    found["killed"] = wait(folder, runs, 90)[run_id].status
    found["failure"] = Store(folder / "results").run(run_id).read_failure()["message"]
    [task] = submit(folder, runs, nodes=2)
    leader = pause_training(folder)
    log = newest_logs(folder / "results")[run_id]
    slurm.run("scancel", "--signal=USR2", task)
    until("Slurm warns", lambda: "Calling checkpoint method" in log.read_text(), 90)
    os.kill(leader, signal.SIGCONT)
    found["warned"] = wait(folder, runs)[run_id]
    found["restarts"] = restarts(slurm, task)
    return {**found, "log": log.read_text(), "results": results(folder)}


def test_processes_on_two_nodes_train_one_run(two_nodes: dict[str, Any]):
    assert len({*two_nodes["nodes"]}) == 2


def test_when_a_task_is_killed_the_other_reports_it_and_the_job_ends(two_nodes: Any):
    assert two_nodes["killed"] == "failed"
    assert "lost the connection to the other processes" in two_nodes["failure"]


def test_a_warned_job_of_two_tasks_is_requeued_once_by_the_first(two_nodes: dict[str, Any]):
    assert two_nodes["warned"].status == "done"
    assert two_nodes["restarts"] == 1
    [record] = two_nodes["results"].values()
    last = len(record["history"])
    assert two_nodes["log"].count(f"epoch {last}/{last}") == 1


def test_after_a_kill_and_a_requeue_it_has_the_bits_of_two_local_processes(
    two_nodes: Any, tmp_path: Path
):
    where = tmp_path / "machine.yaml"
    where.write_text(LOCAL)
    process = start(tmp_path, "run", str(suite(tmp_path, LONG)), "--machine", str(where))
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, out + error
    assert two_nodes["results"] == results(tmp_path)


def test_two_jobs_on_a_node_see_one_gpu_each(slurm: Cluster, environment: None, tmp_path: Path):
    runs = runs_of(tmp_path, LONG.replace("[0]", "[0, 1]"))
    tasks = submit(tmp_path, runs, gpus_per_node=1, slurm_nodelist="n1")
    assert len(tasks) == 2
    until("both run", lambda: len(job_environments(slurm, tasks[0])) == 2, 120)
    seen = [one["CUDA_VISIBLE_DEVICES"] for one in job_environments(slurm, tasks[0])]
    cancel_suite(tmp_path / "results", NAME, "0", runs)
    assert sorted(seen) == ["0", "1"]
    [submission] = read_submissions(tmp_path / "results").values()
    until("they are gone", lambda: query_queue(submission.tasks) == {}, 90)
