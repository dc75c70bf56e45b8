"""Scenarios that can happen to a suite on a cluster, each run on a real Slurm.

A scenario is a function; `tests/slurm/test_suites.py` runs all of them and checks the results.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.config.document import load_document
from benchmark.config.runs import Run
from benchmark.config.validation import short_digest
from benchmark.launch.logs import newest_logs
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.slurm_queue import query_queue
from benchmark.launch.slurm_submit import submit_unfinished
from benchmark.launch.status import RunStatus, query_statuses
from benchmark.launch.submissions import read_submissions, tasks_by_run
from benchmark.store.claim import read_claim
from benchmark.store.folder import Store
from tests.cli.command import command, is_job, numbers, records, run
from tests.job.in_process import grid
from tests.slurm.cluster import Cluster, until
from tests.whole.pages import commands

ROOT = Path(__file__).resolve().parents[2]
NAME = "tried"
GRID = """
title: a test
dataset: {name: digits, limit: 64}
pairs: [resnet14 -> resnet8]
methods: {scratch: , kd: }
seeds: [0, 1, 2, 3]
recipe: {epochs: 2, batch_size: 32, lr: 0.05}
"""
ONE = GRID.replace("[0, 1, 2, 3]", "[0]")
SHORT = ONE.replace(", kd: ", "")
"""One run."""
LONG = SHORT.replace("epochs: 2", "epochs: 15")
"""One run, long enough to be paused in the middle."""
CHAIN = ONE.replace("resnet14", "resnet8").replace("scratch: , ", "")
CHAIN += "teacher: {recipe: {epochs: 15}}"
"""Such a run as a teacher, and its student."""
FAILING = ONE.replace("scratch: , ", "").replace("lr: 0.05", "lr: 1.0e+30")
FAILING += "teacher: {recipe: {lr: 0.05, epochs: 1}}"
SPECIAL = "n[5-7]"
"""Nodes for special scenarios: one is lost, on two a job is preempted."""
Scenario = Callable[[Cluster, Path], Any]


# ---------------------------------------------------------------- for every scenario


def runs_of(folder: Path, text: str) -> dict[str, Run]:
    folder.mkdir(exist_ok=True)
    return dict(grid(folder, text).runs())


def machine(**sbatch: Any) -> Machine:
    # With a limit of an hour or more, submitit takes USR2 for a preemption.
    sizes: dict[str, Any] = {"timeout_min": 60, "cpus_per_task": 1, "mem_gb": 1}
    if "slurm_nodelist" not in sbatch:
        sizes["slurm_exclude"] = SPECIAL
    return Machine(launcher="slurm", device="cpu", workers=4, sbatch=sizes | sbatch)


def submit(folder: Path, runs: Mapping[str, Run], digest: str = "0", **sbatch: Any) -> list[str]:
    """Submit runs of a suite with this digest; return the ids of their tasks."""
    paths, where = Paths(folder / "results", folder), machine(**sbatch)
    return [t.id for t in submit_unfinished(NAME, digest, runs, where, paths, "cpu").tasks]


def wait(folder: Path, runs: Mapping[str, Run], seconds: float = 300) -> dict[str, RunStatus]:
    """Wait until nothing is queued or running. All scenarios run at once, so this may be long."""
    store, found = Store(folder / "results"), {}

    def over() -> bool:
        found.update(query_statuses(runs, store))
        return not {"queued", "running"} & {status.status for status in found.values()}

    until("nothing is queued or running", over, seconds)
    return found


def pause_training(folder: Path) -> int:
    """Pause a training job in the middle, so that no timing matters; return its process id."""
    runs = folder / "results" / "runs"
    found: list[int] = []

    def trained() -> bool:
        """Whether a run has finished an epoch in this attempt; a checkpoint can be older."""
        holders = [read_claim(path.parent) for path in runs.glob("*/checkpoint.pt")]
        found[:] = [holder.pid for holder in holders if holder and holder.progress]
        return bool(found)

    until("an epoch is over", trained, 240)
    [pid] = found
    assert is_job(pid)
    os.kill(pid, signal.SIGSTOP)
    return pid


def log_of(folder: Path) -> str:
    """Return the log of the first job that was submitted."""
    [submission, *_] = read_submissions(folder / "results").values()
    return (folder / "results" / submission.tasks[0].log).read_text()


def wait_for_the_warning(folder: Path) -> None:
    until("a job is warned", lambda: "Calling checkpoint method" in log_of(folder), 180)


def job_field(slurm: Cluster, task: str, name: str) -> str:
    """Return a field of `scontrol show job`."""
    return slurm.run("scontrol", "--oneliner", "show", "job", task).split(f" {name}=")[1].split()[0]


def restarts(slurm: Cluster, task: str) -> int:
    return int(job_field(slurm, task, "Restarts"))


def results(folder: Path) -> dict[str, Any]:
    return {run_id: numbers(record) for run_id, record in records(folder).items()}


# ---------------------------------------------------------------- scenarios


def warned(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, CHAIN)
    task, _ = submit(folder, runs)
    pid = pause_training(folder)
    slurm.run("scancel", "--signal=USR2", task)
    wait_for_the_warning(folder)
    os.kill(pid, signal.SIGCONT)
    wait(folder, runs)
    return restarts(slurm, task)


def out_of_time(slurm: Cluster, folder: Path) -> Any:
    """A time limit of one minute; Slurm warns about half a minute before."""
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, timeout_min=1, slurm_signal_delay_s=5)
    pid = pause_training(folder)
    wait_for_the_warning(folder)
    os.kill(pid, signal.SIGCONT)
    until("it is queued", lambda: restarts(slurm, task) > 0, 60)
    slurm.run("scontrol", "update", f"JobId={task}", "TimeLimit=60")
    wait(folder, runs)
    return restarts(slurm, task)


def preempt_node(slurm: Cluster, node: str) -> None:
    """Submit a job of higher priority for a whole node; Slurm wakes paused jobs to warn them."""
    whole = ("--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null")
    slurm.run("sbatch", *whole, "--wrap=true")


def preempted(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_partition="low", slurm_nodelist="n6")
    pause_training(folder)
    preempt_node(slurm, "n6")
    wait(folder, runs)
    return restarts(slurm, task)


def preempted_at_once(slurm: Cluster, folder: Path) -> Any:
    """Preempted before our code or submitit's has installed a signal handler."""
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_partition="low", slurm_nodelist="n7")
    until("it has started", lambda: job_field(slurm, task, "JobState") == "RUNNING", 240)
    preempt_node(slurm, "n7")
    wait(folder, runs)
    return restarts(slurm, task)


def requeued(slurm: Cluster, folder: Path) -> Any:
    """Like a preemption on a cluster that sends no USR2: SIGTERM, soon after SIGKILL."""
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs)
    pause_training(folder)
    slurm.run("scontrol", "requeue", task)
    until("it is queued", lambda: job_field(slurm, task, "JobState") == "PENDING", 60)
    [run_id] = runs
    claimed = (folder / "results" / "runs" / run_id / "claim.json").exists()
    wait(folder, runs)
    return claimed


def killed(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    submit(folder, runs)
    os.kill(pause_training(folder), signal.SIGKILL)
    [status] = wait(folder, runs).values()
    [run_id] = runs
    failure = Store(folder / "results").run(run_id).read_failure()
    log = log_of(folder)
    submit(folder, runs)
    wait(folder, runs)
    return status.status, failure, log


def lost_node(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_nodelist="n5")
    pause_training(folder)
    slurm.kill_node("n5")
    until("Slurm queues it again", lambda: restarts(slurm, task) == 1, 90)
    [status] = query_statuses(runs, Store(folder / "results")).values()
    slurm.run("scontrol", "update", f"JobId={task}", "ReqNodeList=n2")
    slurm.start_node("n5")
    wait(folder, runs)
    return status


def cancelled(slurm: Cluster, folder: Path) -> Any:
    (folder / f"{NAME}.yaml").write_text(LONG)
    digest = short_digest(load_document(folder / f"{NAME}.yaml").data)
    runs, store = runs_of(folder, LONG), Store(folder / "results")
    [task] = submit(folder, runs, digest)
    pause_training(folder)
    done = run(command(folder, "cancel", str(folder / f"{NAME}.yaml")))
    [submission] = read_submissions(store.root).values()
    until("it is gone", lambda: query_queue(submission.tasks) == {}, 60)
    [status] = query_statuses(runs, store).values()
    state = store.run(*runs).state()
    submit(folder, runs)
    wait(folder, runs)
    return task, done, status.status, state


def failing(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, FAILING)
    submit(folder, runs)
    return runs, wait(folder, runs)


OTHER_PERSON = """
import sys
from pathlib import Path
from tests.slurm.cluster import until
from tests.slurm.scenarios import SHORT, runs_of, submit

folder = Path(sys.argv[1])
runs = runs_of(folder, SHORT)
(folder / "ready").touch()
until("both are ready", (folder / "go").exists, 240)
print(len(submit(folder, runs)))
"""


def two_at_once(slurm: Cluster, folder: Path) -> Any:
    """Two people submit the same suite at the same time."""
    words, runs = [sys.executable, "-c", OTHER_PERSON, str(folder)], runs_of(folder, SHORT)
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        until("the other is ready", (folder / "ready").exists, 240)
        (folder / "go").touch()
        ours = len(submit(folder, runs))
        output, _ = other.communicate(timeout=240)
    wait(folder, runs)
    return runs, [ours, int(output.split()[-1])]


def submitted_twice(slurm: Cluster, folder: Path) -> Any:
    """Submitted again after the file of the first submission was lost."""
    runs = runs_of(folder, LONG)
    [first] = submit(folder, runs)
    [submission] = read_submissions(folder / "results")
    submission.rename(folder / "submission.json")
    [second] = submit(folder, runs)
    (folder / "submission.json").rename(submission)
    wait(folder, runs)
    [tasks] = tasks_by_run(folder / "results", runs).values()
    logs = [folder / "results" / task.log for task in tasks]
    return first, second, sorted("is claimed by another process" in log.read_text() for log in logs)


# ---------------------------------------------------------------- the commands of docs/cluster.md

PAGE = ROOT / "docs" / "cluster.md"
CHANGES = {
    "device: cuda": "device: cpu",
    "workers: 32": "workers: 4",
    "mem_gb: 16": f"mem_gb: 1\n  slurm_exclude: {SPECIAL}",
}
"""What a user of this cluster, which has no real GPU, changes in the machine file."""


def undisturbed(slurm: Cluster, folder: Path) -> Any:
    """A new user runs every command of the page: nine runs, four jobs, one on each node."""
    checkout = folder / "checkout"
    for name in ("benchmark", "methods", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    shutil.copy(ROOT / "run_all.py", checkout)
    (checkout / "configs" / "quickstart.yaml").write_text(GRID)
    described = checkout / "configs" / "machines" / "slurm.yaml"
    for theirs, ours in CHANGES.items():
        assert theirs in described.read_text()
        described.write_text(described.read_text().replace(theirs, ours))
    answers: dict[str, Answer] = {}
    nodes: set[str] = set()
    for line in commands(PAGE):
        if "--wait" in line:
            continue
        run_id = next(iter(newest_logs(checkout / "results")), "RUN")
        answers[line] = run_command(slurm, checkout, line.replace("RUN", run_id))
        if "--machine slurm" in line:
            until("four nodes are at work", lambda: on_four_nodes(slurm, checkout, nodes), 240)
            STARTED.set()
        if "logs" in line:  # the commands after it need finished runs
            line = next(line for line in commands(PAGE) if "--wait" in line)
            answers[line] = run_command(slurm, checkout, line)
    return answers, nodes


class Answer(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    text: str


def run_command(slurm: Cluster, checkout: Path, command: str) -> Answer:
    """Run a command of the page."""
    _, *words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=checkout,
        env=slurm.environment() | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )
    return Answer(done.returncode, done.stdout)


def on_four_nodes(slurm: Cluster, checkout: Path, nodes: set[str]) -> bool:
    """Add the nodes on which jobs of the first submission run; return whether they are four."""
    [submission, *_] = read_submissions(checkout / "results").values()
    ids = ",".join({task.id.partition("_")[0] for task in submission.tasks})
    nodes.update(slurm.run("squeue", "--noheader", "--format=%N", f"--jobs={ids}").split())
    return len(nodes) == 4


# ---------------------------------------------------------------- all scenarios at once

SCENARIOS: list[Scenario] = [
    undisturbed,
    lost_node,
    warned,
    out_of_time,
    preempted,
    preempted_at_once,
    requeued,
    killed,
    cancelled,
    failing,
    two_at_once,
    submitted_twice,
]
STARTED = threading.Event()
"""Set once `undisturbed` has its nodes: it needs four at once."""


class PlayedScenarios:
    """Runs all scenarios, six at a time: they wait most of the time. Call it for a result."""

    def __init__(self, slurm: Cluster, root: Path) -> None:
        self.root = root
        self.pool = ThreadPoolExecutor(6)
        self.found: dict[str, Future[Any]] = {}
        for scenario in SCENARIOS:
            (root / scenario.__name__).mkdir()
            future = self.pool.submit(self.play, scenario, slurm)
            self.found[scenario.__name__] = future

    def play(self, scenario: Scenario, slurm: Cluster) -> Any:
        if scenario is not undisturbed:
            STARTED.wait(240)
        return scenario(slurm, self.root / scenario.__name__)

    def __call__(self, scenario: Scenario) -> Any:
        return self.found[scenario.__name__].result(900)

    def results(self, scenario: Scenario) -> dict[str, Any]:
        return results(self.root / scenario.__name__)
