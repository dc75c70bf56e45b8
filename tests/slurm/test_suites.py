"""On a real Slurm a suite ends with the same bits as here, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmark.cluster import Standing, ask, cancel, follow, logs_of, look, submissions, tasks_of
from benchmark.machine import Machine, Paths
from benchmark.store import Store
from benchmark.submit import submit_open
from benchmark.transfer import Run
from tests.jobs import grid, perform
from tests.slurm.cluster import Cluster, until
from tests.test_cli import command, is_job, numbers, records

pytestmark = pytest.mark.slurm
NAME = "tried"
GRID = """
title: a test
dataset: {name: digits, limit: 64}
pairs: [resnet14 -> resnet8]
methods: {scratch: , kd: }
seeds: [0, 1, 2]
recipe: {epochs: 2, batch_size: 32, lr: 0.05}
"""
ONE = GRID.replace("[0, 1, 2]", "[0]")
SHORT = ONE.replace(", kd: ", "")
"""One run."""
LONG = SHORT.replace("epochs: 2", "epochs: 40")
"""One that is long enough to be caught in the middle."""
CHAIN = ONE.replace("resnet14", "resnet8").replace("scratch: , ", "")
CHAIN += "teacher: {recipe: {epochs: 40}}"
"""That one as a teacher, and a student."""
FAILING = ONE.replace("scratch: , ", "").replace("lr: 0.05", "lr: 1.0e+30")
FAILING += "teacher: {recipe: {lr: 0.05, epochs: 1}}"
Scenario = Callable[[Cluster, Path], Any]


# ---------------------------------------------------------------- what every test does


def runs_of(folder: Path, text: str) -> dict[str, Run]:
    folder.mkdir(exist_ok=True)
    return dict(grid(folder, text).runs())


def machine(**sbatch: Any) -> Machine:
    # From an hour's limit on, submitit takes a USR2 for a preemption.
    sizes: dict[str, Any] = {"timeout_min": 60, "cpus_per_task": 1, "mem_gb": 1}
    if "slurm_nodelist" not in sbatch:
        sizes["slurm_exclude"] = "n4"  # which one of those that run at the same time loses
    return Machine(launcher="slurm", device="cpu", workers=4, sbatch=sizes | sbatch)


def submit(folder: Path, runs: Mapping[str, Run], **sbatch: Any) -> list[str]:
    """Queue runs; return the tasks' numbers."""
    paths = Paths(folder / "results", folder)
    return [t.id for t in submit_open(NAME, "0", runs, machine(**sbatch), paths, "cpu").tasks]


def wait(folder: Path, runs: Mapping[str, Run], seconds: float = 240) -> dict[str, Standing]:
    """Wait until nothing is queued or running; 240 s because everything runs at once."""
    store, found = Store(folder / "results"), {}

    def over() -> bool:
        found.update(look(runs, store))
        return not {"queued", "running"} & {standing.status for standing in found.values()}

    until("nothing is queued or running", over, seconds)
    return found


def wait_for_an_epoch(folder: Path) -> None:
    there = (folder / "results" / "runs").glob
    until("an epoch is over", lambda: any(there("*/checkpoint.pt")), 120)


def restarts(slurm: Cluster, task: str) -> int:
    return int(slurm.run("scontrol", "--oneliner", "show", "job", task).split("Restarts=")[1][0])


def job_of(folder: Path) -> int:
    """The process that trains."""
    [claim] = (folder / "results" / "runs").glob("*/claim.json")
    pid: int = json.loads(claim.read_text())["pid"]
    assert is_job(pid)
    return pid


def results(folder: Path) -> dict[str, Any]:
    return {run_id: numbers(record) for run_id, record in records(folder).items()}


# ---------------------------------------------------------------- what happens on the way


def undisturbed(slurm: Cluster, folder: Path) -> Any:
    """Seven runs: one job a node, four at once, by the command line."""
    (folder / "tried.yaml").write_text(GRID)
    sbatch = "{timeout_min: 60, cpus_per_task: 4, mem_gb: 1}"
    where = folder / "machine.yaml"
    where.write_text(f"{{launcher: slurm, device: cpu, workers: 4, sbatch: {sbatch}}}")
    words = ("run", str(folder / "tried.yaml"), "--machine", str(where), "--wait")
    return subprocess.run(
        command(folder, *words),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        check=False,
    )


def warned(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, CHAIN)
    task, _ = submit(folder, runs)
    wait_for_an_epoch(folder)
    slurm.run("scancel", "--signal=USR2", task)
    wait(folder, runs)
    return restarts(slurm, task)


def preempted(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_partition="low", slurm_nodelist="n3")
    wait_for_an_epoch(folder)
    rival = ("--partition=high", "--nodelist=n3", "--exclusive", "--output=/dev/null")
    slurm.run("sbatch", *rival, "--wrap=true")
    wait(folder, runs)
    return restarts(slurm, task)


def killed(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    submit(folder, runs)
    wait_for_an_epoch(folder)
    os.kill(job_of(folder), signal.SIGKILL)
    [standing] = wait(folder, runs).values()
    [run_id] = runs
    failure = Store(folder / "results").run(run_id).read_failure()
    log = logs_of(folder / "results")[run_id].read_text()
    submit(folder, runs)
    wait(folder, runs)
    return standing.status, failure, log


def lost_node(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_nodelist="n4")
    wait_for_an_epoch(folder)
    slurm.kill_node("n4")
    until("Slurm queues it again", lambda: restarts(slurm, task) == 1, 90)
    [standing] = look(runs, Store(folder / "results")).values()
    slurm.run("scontrol", "update", f"JobId={task}", "ReqNodeList=n2")
    slurm.start_node("n4")
    wait(folder, runs)
    return standing


def cancelled(slurm: Cluster, folder: Path) -> Any:
    runs, store = runs_of(folder, LONG), Store(folder / "results")
    [task] = submit(folder, runs)
    wait_for_an_epoch(folder)
    stopped = cancel(store.root, NAME, runs)
    [note] = submissions(store.root).values()
    until("it is gone", lambda: ask(note.tasks) == {}, 60)
    [standing] = look(runs, store).values()
    state = store.run(*runs).state()
    submit(folder, runs)
    wait(folder, runs)
    return task, stopped, standing.status, state


def failing(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, FAILING)
    submit(folder, runs)
    return runs, wait(folder, runs)


def two_at_once(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, SHORT)
    with ThreadPoolExecutor(2) as both:
        tasks = [*both.map(lambda _: submit(folder, runs), range(2))]
    wait(folder, runs)
    return runs, tasks


def submitted_twice(slurm: Cluster, folder: Path) -> Any:
    """As where the note of a submission got lost."""
    runs = runs_of(folder, LONG)
    [first] = submit(folder, runs)
    [note] = submissions(folder / "results")
    note.rename(folder / "note.json")
    [second] = submit(folder, runs)
    (folder / "note.json").rename(note)
    wait(folder, runs)
    [tasks] = tasks_of(folder / "results", runs).values()
    logs = [folder / "results" / task.log for task in tasks]
    return first, second, sorted("is somebody else's" in log.read_text() for log in logs)


SCENARIOS: list[Scenario] = [
    undisturbed,
    lost_node,
    warned,
    preempted,
    killed,
    cancelled,
    failing,
    two_at_once,
    submitted_twice,
]


class Played:
    """All scenarios, played at once: most of them wait most of the time."""

    def __init__(self, slurm: Cluster, root: Path) -> None:
        self.root = root
        self.pool = ThreadPoolExecutor(len(SCENARIOS))
        self.found: dict[str, Future[Any]] = {}
        for scenario in SCENARIOS:
            (root / scenario.__name__).mkdir()
            future = self.pool.submit(scenario, slurm, root / scenario.__name__)
            self.found[scenario.__name__] = future

    def __call__(self, scenario: Scenario) -> Any:
        return self.found[scenario.__name__].result(400)

    def results(self, scenario: Scenario) -> dict[str, Any]:
        return results(self.root / scenario.__name__)


@pytest.fixture(scope="module")
def environment(slurm: Cluster) -> Iterator[None]:
    """Our own code asks this Slurm."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in slurm.environment().items():
            patch.setenv(name, value)
        yield


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


# ---------------------------------------------------------------- what must hold


def test_a_suite_over_four_nodes_equals_the_local_one_to_the_bit(
    slurm: Cluster, played: Played, expected: dict[str, Any]
):
    done = played(undisturbed)
    assert done.returncode == 0, done.stdout + done.stderr
    made = played.results(undisturbed)
    assert len(made) == 7
    assert made == {run_id: expected[run_id] for run_id in made}
    [note] = submissions(played.root / "undisturbed" / "results").values()
    ids = ",".join(task.id for task in note.tasks)
    asked = ("--allocations", "--noheader", "--parsable2", "--format=NodeList", f"--jobs={ids}")
    assert {*slurm.run("sacct", *asked).split()} == {"n1", "n2", "n3", "n4"}


@pytest.mark.parametrize("scenario", [warned, preempted, lost_node])
def test_a_job_that_is_requeued_goes_on_to_the_same_bits(
    scenario: Scenario, played: Played, expected: dict[str, Any]
):
    played(scenario)
    made = played.results(scenario)
    assert made
    assert made == {run_id: expected[run_id] for run_id in made}


def test_a_student_waits_for_a_teacher_that_is_requeued(played: Played):
    played(warned)
    methods = [run["config"]["method"]["name"] for run in played.results(warned).values()]
    assert sorted(methods) == ["kd", "scratch"]


@pytest.mark.parametrize("scenario", [warned, preempted])
def test_each_warning_requeues_a_job_with_its_claims_released(scenario: Scenario, played: Played):
    count = played(scenario)
    assert count >= 1  # the other scenarios' jobs may preempt this one as well
    folder = played.root / scenario.__name__ / "results"
    [run_id] = (run_id for run_id in logs_of(folder) if "-scratch-" in run_id)
    log = logs_of(folder)[run_id].read_text()
    assert log.count("Calling checkpoint method") == count
    assert log.count("epoch 40/40") == 1
    assert log.count("epoch 1/40") == 1


def test_a_run_whose_node_died_is_queued_not_lost(played: Played):
    assert played(lost_node).status == "queued"


def test_a_killed_job_leaves_its_run_failed_with_its_log_and_is_tried_again(
    played: Played, expected: dict[str, Any]
):
    status, failure, log = played(killed)
    assert status == "failed"
    assert failure["kind"] == "died"
    assert "the job ended (signal 9)" in failure["message"]
    assert "epoch 1/40" in log
    [(run_id, record)] = played.results(killed).items()
    assert record == expected[run_id]


def test_a_cancelled_suite_releases_its_claims_and_goes_on_when_asked(
    played: Played, expected: dict[str, Any]
):
    task, stopped, status, state = played(cancelled)
    assert stopped.arrays == [task]
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
    assert sorted(map(bool, tasks)) == [False, True]
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
    runs = runs_of(tmp_path, GRID.replace("[0, 1, 2]", str([*range(34)])).replace(", kd: ", ""))
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
    wait_for_an_epoch(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(slurm.restart_controller, 3)
        found = follow(runs, Store(tmp_path / "results"), lambda statuses: None)
        restarted.result(60)
    assert {standing.status for standing in found.values()} == {"done"}
    [(run_id, record)] = results(tmp_path).items()
    assert record == expected[run_id]
