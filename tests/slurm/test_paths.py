"""Results folders with unusual names: the log is where it is recorded, or nothing is queued."""

from pathlib import Path

import pytest

from benchmark.config.errors import UserError
from benchmark.launch.cancel import cancel_suite
from benchmark.launch.slurm_queue import query_queue, run_slurm_command
from benchmark.launch.slurm_submit import make_executor
from benchmark.launch.submissions import Submission, read_submissions
from tests.slurm.cluster import Cluster, until
from tests.slurm.scenarios import GRID, NAME, machine, runs_of, submit

pytestmark = pytest.mark.slurm
NAMES = ["a b", "it's", 'say "x"', "$HOME", "ümläut", "a;b#c", "`id`", "(a)[b]{c}*?", "a&b|c<d>"]
NAMES += ["~", "-x", "a,b:c=d", "tab\tx", "!x"]


def in_queue() -> set[str]:
    return {*(run_slurm_command("squeue", "--noheader", "--format=%F") or "").split()}


def test_logs_are_written_where_they_are_recorded(
    slurm: Cluster, environment: None, tmp_path: Path
):
    logs = []
    for name in NAMES:
        executor = make_executor(machine(), tmp_path / name / "jobs" / "submitit", "kd-x", 1)
        with executor.batch():
            job = executor.submit(print, "here I am")
        logs.append(Path(job.paths.stdout))
    until(
        "all logs are written",
        lambda: all(log.exists() and "here I am" in log.read_text() for log in logs),
        120,
    )


NOT_UTF8 = b"\xff".decode(errors="surrogateescape")


@pytest.mark.parametrize("name", ["%j", "100%", "back\\slash", "new\nline", NOT_UTF8])
def test_a_path_that_slurm_would_change_is_refused_before_anything_is_queued(
    name: str, slurm: Cluster, environment: None, tmp_path: Path
):
    before = in_queue()
    with pytest.raises(UserError, match="Choose another folder for --results"):
        submit(tmp_path / name, runs_of(tmp_path, GRID), slurm_additional_parameters={"hold": True})
    assert in_queue() <= before
    assert not (tmp_path / name / "results").exists()


def test_jobs_that_could_not_be_recorded_are_cancelled(
    slurm: Cluster, environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write, before = Submission.write, in_queue()

    def full_disk(submission: Submission, path: Path) -> None:
        if submission.tasks:
            assert in_queue() - before  # they are queued by now
            raise OSError(28, "No space left on device", str(path))
        write(submission, path)

    monkeypatch.setattr(Submission, "write", full_disk)
    runs = runs_of(tmp_path, GRID)
    with pytest.raises(OSError, match="No space left"):
        submit(tmp_path, runs, slurm_additional_parameters={"hold": True})
    until("the jobs have left the queue", lambda: in_queue() <= before, 30)


def test_a_suite_of_the_same_name_with_other_settings_is_not_cancelled(
    slurm: Cluster, environment: None, tmp_path: Path
):
    runs = runs_of(tmp_path, GRID)
    submit(tmp_path, runs, slurm_additional_parameters={"hold": True})
    [submission] = read_submissions(tmp_path / "results").values()
    assert cancel_suite(tmp_path / "results", NAME, "other", runs).arrays == []
    assert query_queue(submission.tasks)
    assert cancel_suite(tmp_path / "results", NAME, "0", runs).arrays
    assert query_queue(submission.tasks) == {}
