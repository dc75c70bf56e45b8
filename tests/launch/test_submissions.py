"""What is submitted in which order, and what is told of it, as far as that takes no Slurm."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmark.config.errors import UserError
from benchmark.config.runs import Run
from benchmark.job.file import Job
from benchmark.launch.cancel import cancel, jobs_here
from benchmark.launch.logs import logs_of
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import cohorts, waves
from benchmark.launch.slurm_queue import Queued, Task, ask, tasks_in
from benchmark.launch.slurm_submit import Submitting, alone, check_sbatch, processes_of
from benchmark.launch.status import Status, look, weigh
from benchmark.launch.submissions import Submission, tasks_of
from benchmark.store.claim import claim
from benchmark.store.folder import Store, run_named
from tests.cli.command import call, command, suite, wait_for_a_checkpoint
from tests.config.example_runs import PROBE, RUN, TEACHER, by_id, student

TASK = Task("7_1", "jobs/a.json", "jobs/a.out", [RUN.id])


@pytest.fixture
def slurmless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def submitted(results: Path, *tasks: Task, suite: str = "a", cancelled: str | None = None) -> Path:
    path = results / "submissions" / f"{len(list(results.glob('submissions/*')))}.json"
    Submission(suite, "0", "me@here", "now", list(tasks), cancelled).write(path)
    return path


# ---------------------------------------------------------------- the order


def test_teachers_students_and_probes_go_in_waves_whatever_their_order():
    other = student("scratch", 7)
    assert waves([PROBE, other, RUN, TEACHER], 1, 8, queued=True) == [
        [other, TEACHER],
        [RUN],
        [PROBE],
    ]


def test_what_is_needed_and_done_already_makes_no_wave():
    assert waves([PROBE, RUN], 1, 8, queued=True) == [[RUN], [PROBE]]
    assert waves([PROBE], 1, 8, queued=True) == [[PROBE]]
    assert waves([], 1, 8, queued=True) == []


STUDENTS = [student(method, 0) for method in ("scratch", "kd", "at")]


@pytest.mark.parametrize(
    ("workers", "largest", "queued", "sizes"),
    [
        (1, 8, True, [1, 3]),  # it rides: a job less in the queue
        (1, 2, True, [2, 2]),  # there is no place left in the distillers' job
        (2, 8, True, [2, 2]),  # nor where each has a job of its own
        (1, 8, False, [1, 3]),
        (1, 2, False, [2, 2]),
    ],
)
def test_a_baseline_goes_with_its_distillers_where_it_finds_a_place(
    workers, largest, queued, sizes
):
    found = waves([TEACHER, *STUDENTS], workers, largest, queued)
    assert [len(wave) for wave in found] == sizes


def test_in_a_queue_a_baseline_rides_where_a_worker_of_ours_would_be_idle():
    runs = [TEACHER, *STUDENTS, student("ab", 0)]
    assert [len(wave) for wave in waves(runs, 2, 8, queued=True)] == [1, 4]
    assert [len(wave) for wave in waves(runs, 2, 8, queued=False)] == [2, 3]


def test_with_its_teachers_there_a_suite_is_one_wave_of_cohorts_with_their_baselines():
    runs = [student(method, seed) for method in ("scratch", "kd", "at") for seed in (0, 1)]
    [wave] = waves(runs, 2, 8, queued=True)
    found = {frozenset(run.id for run in one) for one in cohorts(wave, set(), 2, 8)}
    assert found == {frozenset(run.id for run in runs if run.seed == seed) for seed in (0, 1)}


@pytest.mark.parametrize(("workers", "largest"), [(1, 8), (2, 8), (3, 2), (100, 8), (1, 1)])
def test_cohorts_have_every_run_once_share_a_key_and_keep_to_the_limits(workers, largest):
    runs = [student(method, seed) for seed in (0, 1) for method in ("kd", "at", "ab", "fsp", "sp")]
    made = cohorts(runs, set(), workers, largest)
    assert sorted(run.id for cohort in made for run in cohort) == sorted(run.id for run in runs)
    assert all(len({run.cohort_key for run in cohort}) == 1 for cohort in made)
    assert max(map(len, made)) <= largest
    assert len(made) >= min(workers, len(runs))


def test_a_group_is_cut_evenly():
    runs = [
        student(method, 0) for method in ("kd", "at", "ab", "fsp", "sp", "crd", "rkd", "cc", "ft")
    ]
    assert [len(cohort) for cohort in cohorts(runs, set(), 1, 8)] == [4, 5]


# ---------------------------------------------------------------- how runs stand


WAITING, GOING = Queued("PENDING", "Priority", ""), Queued("RUNNING", "None", "n1")


@pytest.mark.parametrize(
    ("status", "queue", "expected"),
    [
        ("done", {"7_1": GOING}, "done"),
        ("running", {}, "running"),
        ("ready", {"7_1": WAITING}, "queued"),
        ("blocked", {"7_1": WAITING}, "queued"),
        ("ready", {"7_1": GOING}, "queued"),
        # Others in its job are still at work; it is not tried again until the job is queued again.
        ("failed", {"7_1": GOING}, "failed"),
        ("failed", {"7_1": WAITING}, "queued"),
        ("ready", {"7_2": WAITING}, "lost"),
        # Its job came, found what it needs not done, and left.
        ("blocked", {}, "blocked"),
        ("failed", {}, "failed"),
        ("ready", None, "queued"),
        ("failed", None, "failed"),
    ],
)
def test_folder_and_queue_together_say_how_a_run_stands(status: Status, queue, expected):
    assert weigh(status, [TASK], queue)[0] == expected


def test_of_a_run_that_was_never_submitted_the_queue_says_nothing():
    assert weigh("ready", [], None) == ("ready", "")


def test_the_reason_for_waiting_is_slurms():
    assert weigh("ready", [TASK], {"7_1": WAITING}) == ("queued", "Priority")


def test_where_there_is_no_slurm_the_files_alone_tell(tmp_path: Path, slurmless: None):
    runs, store = by_id(TEACHER, RUN), Store(tmp_path)
    submitted(tmp_path, Task("7_0", "", "", [TEACHER.id]), TASK)
    store.run(TEACHER.id).write_config(TEACHER.as_json())
    store.run(TEACHER.id).write_record({"schema": 1})
    found = look(runs, store)
    assert found[TEACHER.id].status == "done"
    assert found[RUN.id].status == "queued"
    assert "Slurm does not answer here" in found[RUN.id].detail


def test_nothing_submitted_nothing_asked(slurmless: None):
    assert ask([]) == {}
    assert ask([TASK]) is None


@pytest.mark.parametrize(
    ("line", "tasks"),
    [
        ("7", ["7"]),
        ("7_1", ["7_1"]),
        ("7_[0-3,5%2]", ["7_0", "7_1", "7_2", "7_3", "7_5"]),  # as Slurm 22.05 tells it
        ("7_[0-4:2]", ["7_0", "7_2", "7_4"]),
    ],
)
def test_what_accounting_keeps_in_one_line_are_many_tasks(line: str, tasks: list[str]):
    assert [*tasks_in(line)] == tasks


def test_what_was_cancelled_is_not_lost(tmp_path: Path):
    submitted(tmp_path, TASK, cancelled="then")
    assert tasks_of(tmp_path, [RUN.id]) == {}
    submitted(tmp_path, TASK)
    assert tasks_of(tmp_path, [RUN.id, "other"]) == {RUN.id: [TASK]}


def test_to_cancel_takes_a_slurm_that_answers(tmp_path: Path, slurmless: None):
    path = submitted(tmp_path, TASK)
    with pytest.raises(UserError, match="cancel where squeue and scancel do"):
        cancel(tmp_path, "a", [])
    assert Submission.read(path).cancelled is None
    assert not any(cancel(tmp_path, "another suite", []))


# ---------------------------------------------------------------- logs


def test_a_runs_log_is_the_newest_of_this_machines_and_the_clusters(tmp_path: Path):
    jobs = tmp_path / "jobs"
    Job([RUN.id, TEACHER.id], "", "", "cpu").write(jobs / "a.json")
    (jobs / "a.log").touch()
    os.utime(jobs / "a.log", (1, 1))
    submitted(tmp_path, TASK, Task("7_2", "jobs/b.json", "jobs/never-written.out", ["other"]))
    assert logs_of(tmp_path) == {RUN.id: jobs / "a.log", TEACHER.id: jobs / "a.log"}
    (jobs / "a.out").touch()
    assert logs_of(tmp_path) == {RUN.id: jobs / "a.out", TEACHER.id: jobs / "a.log"}


def test_a_run_is_named_by_a_beginning_that_no_other_has(tmp_path: Path):
    for name in ("kd-s0", "kd-s0-2", "at-s0"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert run_named(tmp_path, "at") == "at-s0"
    assert run_named(tmp_path, "kd-s0") == "kd-s0"
    with pytest.raises(UserError, match="2 runs begin so: kd-s0, kd-s0-2"):
        run_named(tmp_path, "kd")
    with pytest.raises(UserError, match=r"no such run\. Did you mean 'at-s0'"):
        run_named(tmp_path, "at-s9")


def test_logs_prints_the_end_of_a_local_runs_log(finished: Path):
    [run_id] = (p.name for p in (finished / "results" / "runs").glob("*-resnet8-kd-*"))
    done = call(finished, "logs", run_id[:-3], "--lines", "1")
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{run_id}: ")
    assert "epoch 3/3" in last


# ---------------------------------------------------------------- machine files and this machine


def test_all_names_that_submitit_does_not_have_are_said_at_once():
    sbatch = {
        "slurm_partition": "gpu",
        "slurm_partitoin": "gpu",
        "gpus": 1,
        "slurm_python": "python",
    }
    with pytest.raises(UserError) as error:
        check_sbatch(Machine(launcher="slurm", workers=1, sbatch=sbatch))
    text = str(error.value)
    assert "2 problems" in text
    assert "Did you mean 'slurm_partition'?" in text


def test_what_follows_from_elsewhere_is_refused_with_its_place():
    sbatch = {"slurm_array_parallelism": 4}
    with pytest.raises(UserError, match="slurm_array_parallelism follows from workers"):
        check_sbatch(Machine(launcher="slurm", workers=1, sbatch=sbatch))


def cluster_of(**settings: Any) -> Machine:
    return Machine(launcher="slurm", workers=4, **settings)


@pytest.mark.parametrize(
    ("sbatch", "expected"),
    [
        ({}, 1),
        ({"nodes": 2}, 2),
        ({"tasks_per_node": 4, "nodes": 2}, 8),
        ({"slurm_nodes": 2, "slurm_ntasks_per_node": 3}, 6),
    ],
)
def test_a_cluster_makes_a_job_of_nodes_by_tasks_processes(sbatch: dict[str, Any], expected: int):
    assert processes_of(cluster_of(sbatch=sbatch)) == expected
    check_sbatch(cluster_of(sbatch=sbatch, processes=expected))


def test_another_number_of_processes_than_of_tasks_is_refused_with_all_else():
    with pytest.raises(UserError) as error:
        check_sbatch(cluster_of(sbatch={"nodes": 2, "gpus": 1}, processes=4))
    text = str(error.value)
    assert "2 problems" in text
    assert "make 2 processes a job, and processes: 4 says another number" in text


def test_a_probe_is_queued_as_one_task_with_its_share_of_the_gpus():
    sizes = {"nodes": 2, "tasks_per_node": 4, "gpus_per_node": 8, "mem_gb": 64}
    assert alone(cluster_of(sbatch=sizes)).sbatch == {"gpus_per_node": 2, "mem_gb": 64}
    one = cluster_of(sbatch={"gpus_per_node": 2})
    assert alone(one) is one


def test_probes_are_parted_from_what_takes_more_tasks():
    paths = Paths(Path(), Path())
    runs: list[Run] = [PROBE, RUN]
    wide = Submitting("a", "0", cluster_of(sbatch={"nodes": 2}), paths, "cpu", {})
    assert wide.by_machine(runs) == [[RUN], [PROBE]]
    assert wide.by_machine([RUN]) == [[RUN]]
    assert Submitting("a", "0", cluster_of(), paths, "cpu", {}).by_machine(runs) == [runs]


def test_cancel_stops_a_local_suite_with_its_launcher_and_releases_its_claims(tmp_path: Path):
    path = suite(tmp_path)
    words = command(tmp_path, "run", str(path), "--set", "recipe.epochs=200")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for_a_checkpoint(tmp_path, process)
    done = call(tmp_path, "cancel", str(path), "--set", "recipe.epochs=200")
    assert "cancelled here: " in done.stdout, done.stderr
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"To go on: python" in error
    runs = tmp_path / "results" / "runs"
    assert not [*runs.glob("*/claim.json"), *runs.glob("*/failure.json")]


def test_a_process_that_only_has_a_jobs_number_is_left_alone(tmp_path: Path):
    held = claim(Store(tmp_path).run(RUN.id).path)
    assert held is not None
    assert jobs_here(tmp_path, [RUN.id, TEACHER.id]) == set()
