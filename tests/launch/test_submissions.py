"""The order in which runs are submitted, and their status: what can be tested without Slurm."""

import json
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmark.config.errors import UserError
from benchmark.config.runs import Run
from benchmark.job.file import Job
from benchmark.launch.cancel import cancel_suite, is_job_of, local_job_pids
from benchmark.launch.logs import newest_logs
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.schedule import split_into_cohorts, split_into_waves
from benchmark.launch.slurm_queue import ArrayTask, QueueEntry, expand_task_ids, query_queue
from benchmark.launch.slurm_submit import (
    SuiteSubmitter,
    check_sbatch,
    processes_per_job,
    single_process_machine,
)
from benchmark.launch.status import Status, merge_queue_state, query_statuses
from benchmark.launch.submissions import Submission, tasks_by_run
from benchmark.store.claim import claim_run, read_claim
from benchmark.store.folder import Store, find_run_id
from tests.cli.command import call, command, suite, wait_for_a_checkpoint
from tests.config.example_runs import PROBE, RUN, TEACHER, by_id, student

TASK = ArrayTask("7_1", "jobs/a.json", "jobs/a.out", [RUN.id])


@pytest.fixture
def slurmless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def submitted(
    results: Path, *tasks: ArrayTask, suite: str = "a", cancelled: str | None = None
) -> Path:
    path = results / "submissions" / f"{len(list(results.glob('submissions/*')))}.json"
    Submission(suite, "0", "me@here", "now", list(tasks), cancelled).write(path)
    return path


# ---------------------------------------------------------------- the order


def test_teachers_students_and_probes_go_in_waves_whatever_their_order():
    other = student("scratch", 7)
    assert split_into_waves([PROBE, other, RUN, TEACHER], 1, 8, queued=True) == [
        [other, TEACHER],
        [RUN],
        [PROBE],
    ]


def test_needed_runs_that_are_done_make_no_wave():
    assert split_into_waves([PROBE, RUN], 1, 8, queued=True) == [[RUN], [PROBE]]
    assert split_into_waves([PROBE], 1, 8, queued=True) == [[PROBE]]
    assert split_into_waves([], 1, 8, queued=True) == []


STUDENTS = [student(method, 0) for method in ("scratch", "kd", "at")]


@pytest.mark.parametrize(
    ("workers", "largest", "queued", "sizes"),
    [
        (1, 8, True, [1, 3]),  # it joins: one job less in the queue
        (1, 2, True, [2, 2]),  # the cohort of the distilled runs is full
        (2, 8, True, [2, 2]),  # each distilled run has a job of its own
        (1, 8, False, [1, 3]),
        (1, 2, False, [2, 2]),
    ],
)
def test_a_baseline_joins_distilled_runs_if_their_cohort_has_space(workers, largest, queued, sizes):
    found = split_into_waves([TEACHER, *STUDENTS], workers, largest, queued)
    assert [len(wave) for wave in found] == sizes


def test_a_baseline_waits_to_join_in_a_queue_but_not_while_a_local_worker_is_idle():
    runs = [TEACHER, *STUDENTS, student("ab", 0)]
    assert [len(wave) for wave in split_into_waves(runs, 2, 8, queued=True)] == [1, 4]
    assert [len(wave) for wave in split_into_waves(runs, 2, 8, queued=False)] == [2, 3]


def test_with_its_teachers_done_a_suite_is_one_wave_of_cohorts_with_their_baselines():
    runs = [student(method, seed) for method in ("scratch", "kd", "at") for seed in (0, 1)]
    [wave] = split_into_waves(runs, 2, 8, queued=True)
    found = {frozenset(run.id for run in one) for one in split_into_cohorts(wave, set(), 2, 8)}
    assert found == {frozenset(run.id for run in runs if run.seed == seed) for seed in (0, 1)}


@pytest.mark.parametrize(("workers", "largest"), [(1, 8), (2, 8), (3, 2), (100, 8), (1, 1)])
def test_cohorts_have_every_run_once_share_a_key_and_keep_to_the_limits(workers, largest):
    runs = [student(method, seed) for seed in (0, 1) for method in ("kd", "at", "ab", "fsp", "sp")]
    made = split_into_cohorts(runs, set(), workers, largest)
    assert sorted(run.id for cohort in made for run in cohort) == sorted(run.id for run in runs)
    assert all(len({run.cohort_key for run in cohort}) == 1 for cohort in made)
    assert max(map(len, made)) <= largest
    assert len(made) >= min(workers, len(runs))


def test_a_group_is_cut_evenly():
    runs = [
        student(method, 0) for method in ("kd", "at", "ab", "fsp", "sp", "crd", "rkd", "cc", "ft")
    ]
    assert [len(cohort) for cohort in split_into_cohorts(runs, set(), 1, 8)] == [4, 5]


# ---------------------------------------------------------------- the status of runs


WAITING, GOING = QueueEntry("PENDING", "Priority", ""), QueueEntry("RUNNING", "None", "n1")


@pytest.mark.parametrize(
    ("status", "queue", "expected"),
    [
        ("done", {"7_1": GOING}, "done"),
        ("running", {}, "running"),
        ("ready", {"7_1": WAITING}, "queued"),
        ("blocked", {"7_1": WAITING}, "queued"),
        ("ready", {"7_1": GOING}, "queued"),
        # Its job still does other runs. It is tried again only if Slurm requeues the job.
        ("failed", {"7_1": GOING}, "failed"),
        ("failed", {"7_1": WAITING}, "queued"),
        ("ready", {"7_2": WAITING}, "lost"),
        # Its job ended because the runs that it needs were not done.
        ("blocked", {}, "blocked"),
        ("failed", {}, "failed"),
        ("ready", None, "queued"),
        ("failed", None, "failed"),
    ],
)
def test_folder_and_queue_together_give_the_status_of_a_run(status: Status, queue, expected):
    assert merge_queue_state(status, [TASK], queue)[0] == expected


def test_the_queue_does_not_change_a_run_that_was_never_submitted():
    assert merge_queue_state("ready", [], None) == ("ready", "")


def test_the_reason_for_waiting_is_slurms():
    assert merge_queue_state("ready", [TASK], {"7_1": WAITING}) == ("queued", "Priority")


def test_without_slurm_the_files_give_the_status(tmp_path: Path, slurmless: None):
    runs, store = by_id(TEACHER, RUN), Store(tmp_path)
    submitted(tmp_path, ArrayTask("7_0", "", "", [TEACHER.id]), TASK)
    store.run(TEACHER.id).write_config(TEACHER.as_json())
    store.run(TEACHER.id).write_record({"schema": 1})
    found = query_statuses(runs, store)
    assert found[TEACHER.id].status == "done"
    assert found[RUN.id].status == "queued"
    assert "Slurm does not answer here" in found[RUN.id].detail


def test_slurm_is_asked_only_about_submitted_tasks(slurmless: None):
    assert query_queue([]) == {}
    assert query_queue([TASK]) is None


@pytest.mark.parametrize(
    ("line", "tasks"),
    [
        ("7", ["7"]),
        ("7_1", ["7_1"]),
        ("7_[0-3,5%2]", ["7_0", "7_1", "7_2", "7_3", "7_5"]),  # as Slurm 22.05 writes it
        ("7_[0-4:2]", ["7_0", "7_2", "7_4"]),
    ],
)
def test_one_line_of_sacct_may_be_many_tasks(line: str, tasks: list[str]):
    assert [*expand_task_ids(line)] == tasks


def test_a_cancelled_run_is_not_lost(tmp_path: Path):
    submitted(tmp_path, TASK, cancelled="then")
    assert tasks_by_run(tmp_path, [RUN.id]) == {}
    submitted(tmp_path, TASK)
    assert tasks_by_run(tmp_path, [RUN.id, "other"]) == {RUN.id: [TASK]}


def test_cancel_needs_a_slurm_that_answers(tmp_path: Path, slurmless: None):
    path = submitted(tmp_path, TASK)
    with pytest.raises(UserError, match="cancel on a login node"):
        cancel_suite(tmp_path, "a", "0", [])
    assert Submission.read(path).cancelled is None
    assert not any(cancel_suite(tmp_path, "another suite", "0", []))
    assert not any(cancel_suite(tmp_path, "a", "of other settings", []))


# ---------------------------------------------------------------- logs


def test_a_runs_log_is_the_newest_of_this_machines_and_the_clusters(tmp_path: Path):
    jobs = tmp_path / "jobs"
    Job([RUN.id, TEACHER.id], "", "", "cpu").write(jobs / "a.json")
    (jobs / "a.log").touch()
    os.utime(jobs / "a.log", (1, 1))
    submitted(tmp_path, TASK, ArrayTask("7_2", "jobs/b.json", "jobs/never-written.out", ["other"]))
    assert newest_logs(tmp_path) == {RUN.id: jobs / "a.log", TEACHER.id: jobs / "a.log"}
    (jobs / "a.out").touch()
    assert newest_logs(tmp_path) == {RUN.id: jobs / "a.out", TEACHER.id: jobs / "a.log"}


def test_a_run_is_named_by_a_beginning_that_no_other_has(tmp_path: Path):
    for name in ("kd-s0", "kd-s0-2", "at-s0"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert find_run_id(tmp_path, "at") == "at-s0"
    assert find_run_id(tmp_path, "kd-s0") == "kd-s0"
    with pytest.raises(UserError, match="2 runs begin so: kd-s0, kd-s0-2"):
        find_run_id(tmp_path, "kd")
    with pytest.raises(UserError, match=r"no such run\. Did you mean 'at-s0'"):
        find_run_id(tmp_path, "at-s9")


def test_logs_prints_the_end_of_a_local_runs_log(finished: Path):
    [run_id] = (p.name for p in (finished / "results" / "runs").glob("*-resnet8-kd-*"))
    done = call(finished, "logs", run_id[:-3], "--lines", "1")
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{run_id}: ")
    assert "epoch 3/3" in last


# ---------------------------------------------------------------- machine files and this machine


def test_all_unknown_submitit_settings_are_reported_at_once():
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


def test_a_derived_setting_is_refused_with_its_source():
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
    assert processes_per_job(cluster_of(sbatch=sbatch)) == expected
    check_sbatch(cluster_of(sbatch=sbatch, processes=expected))


def test_a_number_of_processes_other_than_of_tasks_is_refused_with_all_other_problems():
    with pytest.raises(UserError) as error:
        check_sbatch(cluster_of(sbatch={"nodes": 2, "gpus": 1}, processes=4))
    text = str(error.value)
    assert "2 problems" in text
    assert "processes: 4 contradicts nodes x tasks_per_node, which make 2 processes a job" in text


def test_a_probe_is_queued_as_one_task_with_its_share_of_the_gpus():
    sizes = {"nodes": 2, "tasks_per_node": 4, "gpus_per_node": 8, "mem_gb": 64}
    assert single_process_machine(cluster_of(sbatch=sizes)).sbatch == {
        "gpus_per_node": 2,
        "mem_gb": 64,
    }
    one = cluster_of(sbatch={"gpus_per_node": 2})
    assert single_process_machine(one) is one


def test_probes_are_separated_from_runs_with_several_tasks():
    paths = Paths(Path(), Path())
    runs: list[Run] = [PROBE, RUN]
    wide = SuiteSubmitter("a", "0", cluster_of(sbatch={"nodes": 2}), paths, "cpu", {})
    assert wide.split_by_resources(runs) == [[RUN], [PROBE]]
    assert wide.split_by_resources([RUN]) == [[RUN]]
    assert SuiteSubmitter("a", "0", cluster_of(), paths, "cpu", {}).split_by_resources(runs) == [
        runs
    ]


def test_cancel_stops_a_local_suite_with_its_launcher_and_releases_its_claims(tmp_path: Path):
    path = suite(tmp_path)
    words = command(tmp_path, "run", str(path), "--set", "recipe.epochs=200")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for_a_checkpoint(tmp_path, process)
    done = call(tmp_path, "cancel", str(path), "--set", "recipe.epochs=200")
    assert "cancelled processes on this machine: " in done.stdout, done.stderr
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"To go on: python" in error
    runs = tmp_path / "results" / "runs"
    assert not [*runs.glob("*/claim.json"), *runs.glob("*/failure.json")]


def test_a_process_that_only_reuses_a_jobs_pid_is_not_cancelled(tmp_path: Path):
    held = claim_run(Store(tmp_path).run(RUN.id).path)
    assert held is not None
    assert local_job_pids(tmp_path, "0", [RUN.id, TEACHER.id]) == set()


DAMAGED = ["", "not JSON", "[]", "3", "{}", '{"unknown": 1}', "[" * 5000, "\\ud800", "null"]
TASKS = ['{"id": "a;b"}', "7", '[{"id": "7_1", "job": 3, "log": "", "runs": []}]']
TASKS += ['[{"id": "a;b", "job": "", "log": "", "runs": []}]']
TASKS += ['[{"id": "7_1", "job": "", "log": "../../secret", "runs": []}]']
HEAD = '{"suite": "a", "digest": "0", "who": "", "when": "", "tasks": '
WRONG_TASKS = [HEAD + tasks + "}" for tasks in TASKS]


@pytest.mark.parametrize("text", [*DAMAGED, *WRONG_TASKS])
def test_a_damaged_file_costs_only_what_it_names_and_is_named(
    text: str, tmp_path: Path, slurmless: None, capsys: pytest.CaptureFixture[str]
):
    Job([RUN.id], "", "", "cpu").write(tmp_path / "jobs" / "a.json")
    (tmp_path / "jobs" / "a.log").touch()
    submitted(tmp_path, TASK)
    for folder in ("jobs", "submissions"):
        (tmp_path / folder / "b.json").write_text(text)
        (tmp_path / folder / "c.json").mkdir()
        os.mkfifo(tmp_path / folder / "d.json")
    assert newest_logs(tmp_path) == {RUN.id: tmp_path / "jobs" / "a.log"}
    assert query_statuses(by_id(RUN), Store(tmp_path))[RUN.id].status == "queued"
    assert not any(cancel_suite(tmp_path, "another suite", "0", []))
    warnings = capsys.readouterr().err
    for folder in ("jobs", "submissions"):
        for name in ("b", "c", "d"):
            assert warnings.count(f"warning: {tmp_path / folder / name}.json") == 1


def test_a_job_file_that_a_full_disk_cuts_off_is_not_left(tmp_path: Path):
    job = Job([RUN.id], "", "", "cpu", digest="0")
    job.write(tmp_path / "a.json")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            Job(["another"], "", "", "cpu").write(tmp_path / "a.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Job.read(tmp_path / "a.json") == job
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("field", ["pid", "heartbeat", "progress", "host"])
def test_a_claim_with_a_value_of_another_type_is_a_claim_without_a_holder(
    field: str, tmp_path: Path
):
    folder = Store(tmp_path).run(RUN.id)
    held = claim_run(folder.path)
    assert held is not None
    content = json.loads(folder.claim.read_text()) | {field: ["x"]}
    folder.claim.write_text(json.dumps(content))
    holder = read_claim(folder.path)
    assert holder is not None
    assert holder.host == "?"
    assert folder.state() == "running"  # until it is too old


def test_a_job_of_a_suite_with_other_settings_is_not_cancelled(tmp_path: Path):
    path = tmp_path / "jobs" / "a.json"
    Job([RUN.id], "", "", "cpu", digest="0").write(path)
    command_line = b"\0".join([b"python", b"-m", b"benchmark.job", os.fsencode(path), b""])
    assert is_job_of("0", command_line)
    assert not is_job_of("1", command_line)
    assert not is_job_of("0", b"vim\0notes\0")
