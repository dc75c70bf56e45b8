"""Local jobs give the same results as any other, and wrong machine files are reported."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import benchmark.launch.local_job
from benchmark.config.errors import UserError
from benchmark.launch.local import Launcher, prepare_devices
from benchmark.launch.local_job import LocalJob
from benchmark.launch.machine import Machine, Paths
from benchmark.processes.identity import process_start_time
from tests.cli.command import call, command, numbers, records, suite
from tests.config.example_runs import PROBE
from tests.slurm.cluster import until

ROOT = Path(__file__).parents[2]


def machine(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    return path


def test_through_submitit_the_records_are_the_same_to_the_bit(finished, tmp_path):
    text = "{launcher: submitit-local, device: cpu, workers: 2, sbatch: {timeout_min: 20}}"
    where = machine(tmp_path, text)
    words = ("run", str(suite(tmp_path)), "--machine", str(where), "--only", "method=kd")
    done = call(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    made, expected = records(tmp_path), records(finished)
    assert len(made) == 2
    assert all(numbers(made[run_id]) == numbers(expected[run_id]) for run_id in made)


def test_without_a_slurm_the_slurm_machine_is_one_clear_message(tmp_path):
    done = subprocess.run(
        command(tmp_path, "run", str(suite(tmp_path)), "--machine", "slurm"),
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": str(tmp_path)},  # wherever srun may be, it is not found
        check=False,
    )
    assert done.returncode == 2
    assert "error: the job could not be submitted" in done.stderr
    assert "Traceback" not in done.stderr


def test_all_problems_of_a_machine_file_are_reported_at_once(tmp_path):
    wrong = "launcher: slurm\ndevice: gpu\nlargest: 0\nworker: 3\n"
    with pytest.raises(UserError) as error:
        Machine.read(machine(tmp_path, wrong))
    text = " ".join(str(error.value).split())
    assert "3 problems" in text
    assert "must be 'auto', 'cpu' or 'cuda', got 'gpu'" in text
    assert "must be greater than 0, got 0" in text
    assert "Did you mean 'workers'?" in text


def test_a_cluster_without_a_number_of_jobs_is_refused(tmp_path):
    with pytest.raises(UserError, match="launcher: slurm needs a number, not auto"):
        Machine.read(machine(tmp_path, "launcher: slurm"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs/machines").glob("*.yaml")), ids=str)
def test_every_machine_of_the_repository_can_be_read(path):
    assert Machine.read(path).largest > 0


def test_jobs_are_spread_over_the_devices(tmp_path):
    machine = Machine(launcher="local", workers=3)
    launcher = Launcher(machine, Paths(tmp_path, tmp_path), ["cuda:0", "cuda:1"])
    for slot in launcher.free_slots():
        launcher.start(slot, [])
    launcher.stop()
    jobs = sorted((tmp_path / "jobs").glob("*.json"))
    assert [json.loads(path.read_text())["device"] for path in jobs] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]


def launcher(tmp_path: Path, *devices: str, **settings: Any) -> Launcher:
    return Launcher(Machine(launcher="local", **settings), Paths(tmp_path, tmp_path), [*devices])


EIGHT = [f"cuda:{number}" for number in range(8)]


def test_there_is_one_worker_a_gpu_or_one_a_core(tmp_path):
    assert launcher(tmp_path, "cuda:0", "cuda:1").workers == 2
    assert launcher(tmp_path, "cpu").workers == len(os.sched_getaffinity(0))
    assert launcher(tmp_path, "cpu", processes=1000).workers == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"processes": 2}, ["cuda:0,cuda:1", "cuda:2,cuda:3", "cuda:4,cuda:5", "cuda:6,cuda:7"]),
        ({"processes": 3}, ["cuda:0,cuda:1,cuda:2", "cuda:3,cuda:4,cuda:5"]),
        ({"processes": 8}, [",".join(EIGHT)]),
        # Every GPU has one before any has two.
        ({"per_device": 2}, [*EIGHT, *EIGHT]),
        ({"processes": 8, "per_device": 2}, [",".join(EIGHT)] * 2),
    ],
)
def test_gpus_are_grouped_by_the_processes_of_a_job_and_repeated_per_device(
    tmp_path, settings, expected
):
    made = launcher(tmp_path, *EIGHT, **settings)
    assert made.slot_devices == expected
    assert made.workers == len(expected)


def test_fewer_gpus_than_a_job_has_processes_are_refused(tmp_path):
    with pytest.raises(UserError, match="needs 4 GPUs, and this machine has 2"):
        launcher(tmp_path, "cuda:0", "cuda:1", processes=4)


def test_several_jobs_a_gpu_are_refused_on_a_cluster(tmp_path):
    with pytest.raises(UserError, match="works with launcher: local only"):
        Machine.read(machine(tmp_path, "{launcher: slurm, workers: 1, per_device: 2}"))


def test_a_probe_is_started_as_one_process_whatever_the_machine_says(tmp_path):
    made = launcher(tmp_path, "cuda:0", "cuda:1", processes=2)
    made.start(0, [PROBE])
    [job] = [started.handle for started in made.busy.values()]
    made.stop()
    assert isinstance(job, LocalJob)
    assert len(job.processes) == 1
    [path] = (tmp_path / "jobs").glob("*.json")
    assert json.loads(path.read_text())["device"] == "cuda:0"


def test_an_interrupt_while_a_job_starts_is_raised_and_leaves_no_process_behind(
    tmp_path, monkeypatch
):
    processes: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def interrupted(*arguments: Any, **settings: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(*arguments, **settings))
        signal.raise_signal(signal.SIGINT)
        return processes[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    made = launcher(tmp_path, "cpu")
    with pytest.raises(KeyboardInterrupt):
        made.start(0, [])
    made.stop()
    [process] = processes
    assert process.returncode is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---------------------------------------------------------------- a job's processes


def start_job(tmp_path: Path, code: str, count: int = 2) -> LocalJob:
    """Start a job whose processes run some code, with their rank in `rank`."""
    lines = f"import os, signal, sys, time\nrank = os.environ.get('RANK')\n{code}"
    return LocalJob([sys.executable, "-S", "-c", lines], count, tmp_path / "log")


def wait_for_end(made: LocalJob, log: str = "") -> str:
    """Wait until a line is in the log and the job has ended; return how it ended."""
    until("the line is in the log", lambda: log in made.log.read_text(), 20)
    until("it has ended", lambda: made.ended() is not None, 20)
    assert all(process.returncode is not None for process in made.processes)
    ending = made.ended()
    assert ending is not None
    return ending


def test_each_process_knows_its_rank_and_the_first_has_the_open_port(tmp_path):
    code = """
import socket
names = ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
line = [rank, *(os.environ[name] for name in names)]
if "MASTER_FD" in os.environ:
    line.append(str(socket.socket(fileno=int(os.environ["MASTER_FD"])).getsockname()[1]))
os.write(1, (" ".join(line) + "\\n").encode())
"""
    made = start_job(tmp_path, code)
    assert wait_for_end(made) == "exit code 0"
    first, second = sorted(line.split() for line in made.log.read_text().splitlines())
    assert first[:4] == ["0", "2", "0", "127.0.0.1"]
    assert second[:4] == ["1", "2", "1", "127.0.0.1"]
    assert first[4] == first[5] == second[4]


def test_a_single_process_sees_a_world_of_one(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as in somebody's Slurm job
    made = start_job(tmp_path, "print(os.environ['WORLD_SIZE'], rank)", 1)
    assert wait_for_end(made) == "exit code 0"
    assert made.log.read_text().split() == ["1", "None"]


SLEEPER = "if rank == '1': print('on', flush=True); time.sleep(60)\n"


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("sys.exit(130)", "exit code 130"),
        ("sys.exit(3)", "exit code 3"),
    ],
)
def test_when_one_process_fails_the_others_end_and_its_end_is_the_jobs(
    tmp_path, monkeypatch, code, ending
):
    monkeypatch.setattr(benchmark.launch.local_job, "FAILURE_GRACE", 0.1)
    assert wait_for_end(start_job(tmp_path, SLEEPER + code), "on") == ending


def test_after_a_failure_the_others_have_time_to_report(tmp_path):
    made = start_job(tmp_path, "if rank == '1': sys.exit(3)\ntime.sleep(0.5)\nprint('said')")
    assert wait_for_end(made) == "exit code 3"
    assert made.log.read_text() == "said\n"


def test_a_process_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.launch.local_job, "SECONDS_TO_END", 0.1)
    ignores_sigterm = "if rank == '1': signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    made = start_job(tmp_path, ignores_sigterm + SLEEPER + "time.sleep(0.5)\nsys.exit(130)")
    assert wait_for_end(made, "on") == "exit code 130"
    assert [process.returncode for process in made.processes] == [130, -signal.SIGKILL]


def test_processes_of_a_killed_launcher_end_by_themselves(tmp_path):
    code = "from benchmark.processes.contract import end_with_launcher\nend_with_launcher()\n"
    code += "print(os.getpid(), flush=True)\n"
    pid = os.fork()
    if pid == 0:
        start_job(tmp_path, code + "time.sleep(60)")
        time.sleep(60)
        os._exit(0)
    until("both run", lambda: len(pids(tmp_path / "log")) == 2, 20)
    assert all(map(process_start_time, pids(tmp_path / "log")))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until("both have ended", lambda: not any(map(process_start_time, pids(tmp_path / "log"))), 20)


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_missing_gpu_that_the_machine_file_asks_for_is_reported(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="asks for cuda, but this machine has no usable GPU"):
        prepare_devices(Machine(launcher="local", device="cuda"), ["digits"], tmp_path)
    assert prepare_devices(Machine(launcher="local"), ["digits"], tmp_path) == ["cpu"]


def test_the_launcher_never_loads_torch(tmp_path):
    code = "import sys\nfrom benchmark.cli.main import main\nmain(sys.argv[1:])\n"
    code += "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    arguments = command(tmp_path, "run", str(suite(tmp_path)), "--only", "method=scratch")[2:]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)
    [record] = records(tmp_path).values()
    assert record["environment"]["threads"] == 1
