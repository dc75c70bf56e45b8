"""What may happen to a suite on its way through a cluster, played on a real one."""

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

from benchmark.config.runs import Run
from benchmark.launch.logs import logs_of
from benchmark.launch.machine import Machine, Paths
from benchmark.launch.slurm_queue import ask
from benchmark.launch.slurm_submit import submit_open
from benchmark.launch.status import Standing, look
from benchmark.launch.submissions import submissions, tasks_of
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
"""One that is long enough to be caught in the middle."""
CHAIN = ONE.replace("resnet14", "resnet8").replace("scratch: , ", "")
CHAIN += "teacher: {recipe: {epochs: 15}}"
"""That one as a teacher, and a student."""
FAILING = ONE.replace("scratch: , ", "").replace("lr: 0.05", "lr: 1.0e+30")
FAILING += "teacher: {recipe: {lr: 0.05, epochs: 1}}"
SPECIAL = "n[5-7]"
"""Nodes at which something happens: one is lost, two are taken by somebody with more right."""
Scenario = Callable[[Cluster, Path], Any]


# ---------------------------------------------------------------- what every scenario does


def runs_of(folder: Path, text: str) -> dict[str, Run]:
    folder.mkdir(exist_ok=True)
    return dict(grid(folder, text).runs())


def machine(**sbatch: Any) -> Machine:
    # From an hour's limit on, submitit takes a USR2 for a preemption.
    sizes: dict[str, Any] = {"timeout_min": 60, "cpus_per_task": 1, "mem_gb": 1}
    if "slurm_nodelist" not in sbatch:
        sizes["slurm_exclude"] = SPECIAL
    return Machine(launcher="slurm", device="cpu", workers=4, sbatch=sizes | sbatch)


def submit(folder: Path, runs: Mapping[str, Run], **sbatch: Any) -> list[str]:
    """Queue runs; return the tasks' numbers."""
    paths = Paths(folder / "results", folder)
    return [t.id for t in submit_open(NAME, "0", runs, machine(**sbatch), paths, "cpu").tasks]


def wait(folder: Path, runs: Mapping[str, Run], seconds: float = 300) -> dict[str, Standing]:
    """Wait until nothing is queued or running; so long because everything runs at once."""
    store, found = Store(folder / "results"), {}

    def over() -> bool:
        found.update(look(runs, store))
        return not {"queued", "running"} & {standing.status for standing in found.values()}

    until("nothing is queued or running", over, seconds)
    return found


def caught(folder: Path) -> int:
    """Halt a job's training in the middle, so that nothing here depends on who is faster."""
    there = (folder / "results" / "runs").glob

    found: list[int] = []

    def trained() -> bool:
        """Say whether one has an epoch behind it in this try; a checkpoint may be an earlier's."""
        holders = [read_claim(path.parent) for path in there("*/checkpoint.pt")]
        found[:] = [holder.pid for holder in holders if holder and holder.progress]
        return bool(found)

    until("an epoch is over", trained, 240)
    [pid] = found
    assert is_job(pid)
    os.kill(pid, signal.SIGSTOP)
    return pid


def log_of(folder: Path) -> str:
    """Return what the first job that was submitted has printed."""
    [note, *_] = submissions(folder / "results").values()
    return (folder / "results" / note.tasks[0].log).read_text()


def wait_for_the_warning(folder: Path) -> None:
    until("a job is warned", lambda: "Calling checkpoint method" in log_of(folder), 180)


def shown(slurm: Cluster, task: str, name: str) -> str:
    """Return what Slurm says of a job under a name."""
    return slurm.run("scontrol", "--oneliner", "show", "job", task).split(f" {name}=")[1].split()[0]


def restarts(slurm: Cluster, task: str) -> int:
    return int(shown(slurm, task, "Restarts"))


def results(folder: Path) -> dict[str, Any]:
    return {run_id: numbers(record) for run_id, record in records(folder).items()}


# ---------------------------------------------------------------- what happens on the way


def warned(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, CHAIN)
    task, _ = submit(folder, runs)
    pid = caught(folder)
    slurm.run("scancel", "--signal=USR2", task)
    wait_for_the_warning(folder)
    os.kill(pid, signal.SIGCONT)
    wait(folder, runs)
    return restarts(slurm, task)


def out_of_time(slurm: Cluster, folder: Path) -> Any:
    """A limit of a minute, of which Slurm warns about half a minute before."""
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, timeout_min=1, slurm_signal_delay_s=5)
    pid = caught(folder)
    wait_for_the_warning(folder)
    os.kill(pid, signal.SIGCONT)
    until("it is queued", lambda: restarts(slurm, task) > 0, 60)
    slurm.run("scontrol", "update", f"JobId={task}", "TimeLimit=60")
    wait(folder, runs)
    return restarts(slurm, task)


def rival(slurm: Cluster, node: str) -> None:
    """Have somebody with more right to it ask for a whole node; Slurm wakes whom it warns."""
    whole = ("--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null")
    slurm.run("sbatch", *whole, "--wrap=true")


def preempted(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_partition="low", slurm_nodelist="n6")
    caught(folder)
    rival(slurm, "n6")
    wait(folder, runs)
    return restarts(slurm, task)


def preempted_at_once(slurm: Cluster, folder: Path) -> Any:
    """Before anything of ours, or of submitit's, can have listened."""
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_partition="low", slurm_nodelist="n7")
    until("it has started", lambda: shown(slurm, task, "JobState") == "RUNNING", 240)
    rival(slurm, "n7")
    wait(folder, runs)
    return restarts(slurm, task)


def requeued(slurm: Cluster, folder: Path) -> Any:
    """As a preemption where a site sends no USR2: SIGTERM, a moment later SIGKILL."""
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs)
    caught(folder)
    slurm.run("scontrol", "requeue", task)
    until("it is queued", lambda: shown(slurm, task, "JobState") == "PENDING", 60)
    [run_id] = runs
    claimed = (folder / "results" / "runs" / run_id / "claim.json").exists()
    wait(folder, runs)
    return claimed


def killed(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    submit(folder, runs)
    os.kill(caught(folder), signal.SIGKILL)
    [standing] = wait(folder, runs).values()
    [run_id] = runs
    failure = Store(folder / "results").run(run_id).read_failure()
    log = log_of(folder)
    submit(folder, runs)
    wait(folder, runs)
    return standing.status, failure, log


def lost_node(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, LONG)
    [task] = submit(folder, runs, slurm_nodelist="n5")
    caught(folder)
    slurm.kill_node("n5")
    until("Slurm queues it again", lambda: restarts(slurm, task) == 1, 90)
    [standing] = look(runs, Store(folder / "results")).values()
    slurm.run("scontrol", "update", f"JobId={task}", "ReqNodeList=n2")
    slurm.start_node("n5")
    wait(folder, runs)
    return standing


def cancelled(slurm: Cluster, folder: Path) -> Any:
    (folder / f"{NAME}.yaml").write_text(LONG)
    runs, store = runs_of(folder, LONG), Store(folder / "results")
    [task] = submit(folder, runs)
    caught(folder)
    done = run(command(folder, "cancel", str(folder / f"{NAME}.yaml")))
    [note] = submissions(store.root).values()
    until("it is gone", lambda: ask(note.tasks) == {}, 60)
    [standing] = look(runs, store).values()
    state = store.run(*runs).state()
    submit(folder, runs)
    wait(folder, runs)
    return task, done, standing.status, state


def failing(slurm: Cluster, folder: Path) -> Any:
    runs = runs_of(folder, FAILING)
    submit(folder, runs)
    return runs, wait(folder, runs)


SOMEBODY_ELSE = """
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
    """Two processes, as two people have them."""
    words, runs = [sys.executable, "-c", SOMEBODY_ELSE, str(folder)], runs_of(folder, SHORT)
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        until("the other is ready", (folder / "ready").exists, 240)
        (folder / "go").touch()
        ours = len(submit(folder, runs))
        said, _ = other.communicate(timeout=240)
    wait(folder, runs)
    return runs, [ours, int(said.split()[-1])]


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


# ---------------------------------------------------------------- as docs/cluster.md has it

PAGE = ROOT / "docs" / "cluster.md"
OURS = {
    "device: cuda": "device: cpu",
    "workers: 32": "workers: 4",
    "mem_gb: 16": f"mem_gb: 1\n  slurm_exclude: {SPECIAL}",
}
"""What the machine file says, and what a user of this cluster enters instead: no GPU is real."""


def undisturbed(slurm: Cluster, folder: Path) -> Any:
    """A new user gives every command of the page: nine runs, four jobs on a node each."""
    checkout = folder / "checkout"
    for name in ("benchmark", "methods", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    shutil.copy(ROOT / "run_all.py", checkout)
    (checkout / "configs" / "quickstart.yaml").write_text(GRID)
    described = checkout / "configs" / "machines" / "slurm.yaml"
    for theirs, ours in OURS.items():
        assert theirs in described.read_text()
        described.write_text(described.read_text().replace(theirs, ours))
    said: dict[str, Said] = {}
    nodes: set[str] = set()
    for line in commands(PAGE):
        if "--wait" in line:
            continue
        run_id = next(iter(logs_of(checkout / "results")), "RUN")
        said[line] = give(slurm, checkout, line.replace("RUN", run_id))
        if "--machine slurm" in line:
            until("four nodes are at work", lambda: at_work(slurm, checkout, nodes), 240)
            STARTED.set()
        if "logs" in line:  # what comes after it is for when all is done
            line = next(line for line in commands(PAGE) if "--wait" in line)
            said[line] = give(slurm, checkout, line)
    return said, nodes


class Said(NamedTuple):
    """What a command has answered."""

    code: int
    text: str


def give(slurm: Cluster, checkout: Path, command: str) -> Said:
    """Give a command as the page has it."""
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
    return Said(done.returncode, done.stdout)


def at_work(slurm: Cluster, checkout: Path, nodes: set[str]) -> bool:
    """Add the nodes on which jobs of the first submission are, and say whether they are four."""
    [note, *_] = submissions(checkout / "results").values()
    ids = ",".join({task.id.partition("_")[0] for task in note.tasks})
    nodes.update(slurm.run("squeue", "--noheader", "--format=%N", f"--jobs={ids}").split())
    return len(nodes) == 4


# ---------------------------------------------------------------- all at once

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
"""The undisturbed one wants all nodes at first."""


class Played:
    """All scenarios, several at once: most of them wait most of the time."""

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
