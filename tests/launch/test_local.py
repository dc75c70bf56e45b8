"""Where a job runs changes nothing, and a machine file that is wrong says so."""

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
from benchmark.launch.local import Launcher, prepare
from benchmark.launch.local_job import Crew
from benchmark.launch.machine import Machine, Paths
from benchmark.processes.identity import start_of
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


def test_all_that_is_wrong_with_a_machine_file_is_said_at_once(tmp_path):
    wrong = "launcher: slurm\ndevice: gpu\nlargest: 0\nworker: 3\n"
    with pytest.raises(UserError) as error:
        Machine.read(machine(tmp_path, wrong))
    text = " ".join(str(error.value).split())
    assert "3 problems" in text
    assert "must be 'auto', 'cpu' or 'cuda', got 'gpu'" in text
    assert "must be greater than 0, got 0" in text
    assert "Did you mean 'workers'?" in text


def test_a_cluster_without_a_number_of_jobs_is_refused(tmp_path):
    with pytest.raises(UserError, match="a cluster needs a number of jobs"):
        Machine.read(machine(tmp_path, "launcher: slurm"))


@pytest.mark.parametrize("path", sorted((ROOT / "configs/machines").glob("*.yaml")), ids=str)
def test_every_machine_of_the_repository_can_be_read(path):
    assert Machine.read(path).largest > 0


def test_jobs_are_dealt_out_over_the_devices(tmp_path):
    machine = Machine(launcher="local", workers=3)
    launcher = Launcher(machine, Paths(tmp_path, tmp_path), ["cuda:0", "cuda:1"])
    for place in launcher.free():
        launcher.start(place, [])
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


def test_workers_are_one_a_gpu_or_one_a_core(tmp_path):
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
def test_gpus_are_dealt_in_groups_of_a_jobs_processes_as_often_as_asked(
    tmp_path, settings, expected
):
    made = launcher(tmp_path, *EIGHT, **settings)
    assert made.places == expected
    assert made.workers == len(expected)


def test_fewer_gpus_than_a_job_has_processes_are_refused(tmp_path):
    with pytest.raises(UserError, match="processes: 4 in the machine file, and 2 GPUs here"):
        launcher(tmp_path, "cuda:0", "cuda:1", processes=4)


def test_several_jobs_a_gpu_are_a_launchers_own_business(tmp_path):
    with pytest.raises(UserError, match="is for launcher: local"):
        Machine.read(machine(tmp_path, "{launcher: slurm, workers: 1, per_device: 2}"))


def test_a_probe_is_started_as_one_process_whatever_the_machine_says(tmp_path):
    made = launcher(tmp_path, "cuda:0", "cuda:1", processes=2)
    made.start(0, [PROBE])
    [crew] = [started.handle for started in made.busy.values()]
    made.stop()
    assert isinstance(crew, Crew)
    assert len(crew.processes) == 1
    [path] = (tmp_path / "jobs").glob("*.json")
    assert json.loads(path.read_text())["device"] == "cuda:0"


# ---------------------------------------------------------------- a job's processes


def crew(tmp_path: Path, code: str, count: int = 2) -> Crew:
    lines = f"import os, signal, sys, time\nrank = os.environ.get('RANK')\n{code}"
    return Crew([sys.executable, "-S", "-c", lines], count, tmp_path / "log")


def end_of(made: Crew, log: str = "") -> str:
    until("it said so", lambda: log in made.log.read_text(), 20)
    until("it has ended", lambda: made.ended() is not None, 20)
    assert all(process.returncode is not None for process in made.processes)
    word = made.ended()
    assert word is not None
    return word


def test_each_process_knows_which_it_is_and_the_first_has_the_door(tmp_path):
    code = """
import socket
names = ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
line = [rank, *(os.environ[name] for name in names)]
if "MASTER_FD" in os.environ:
    line.append(str(socket.socket(fileno=int(os.environ["MASTER_FD"])).getsockname()[1]))
os.write(1, (" ".join(line) + "\\n").encode())
"""
    made = crew(tmp_path, code)
    assert end_of(made) == "exit code 0"
    first, second = sorted(line.split() for line in made.log.read_text().splitlines())
    assert first[:4] == ["0", "2", "0", "127.0.0.1"]
    assert second[:4] == ["1", "2", "1", "127.0.0.1"]
    assert first[4] == first[5] == second[4]


def test_one_process_is_told_that_it_is_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as in somebody's Slurm job
    made = crew(tmp_path, "print(os.environ['WORLD_SIZE'], rank)", 1)
    assert end_of(made) == "exit code 0"
    assert made.log.read_text().split() == ["1", "None"]


SLEEPER = "if rank == '1': print('on', flush=True); time.sleep(60)\n"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("sys.exit(130)", "exit code 130"),
        ("sys.exit(3)", "exit code 3"),
    ],
)
def test_when_one_ends_badly_the_others_end_and_its_end_is_the_jobs(
    tmp_path, monkeypatch, code, word
):
    monkeypatch.setattr(benchmark.launch.local_job, "GRACE", 0.1)
    assert end_of(crew(tmp_path, SLEEPER + code), "on") == word


def test_one_that_fails_leaves_the_others_time_to_say_so(tmp_path):
    made = crew(tmp_path, "if rank == '1': sys.exit(3)\ntime.sleep(0.5)\nprint('said')")
    assert end_of(made) == "exit code 3"
    assert made.log.read_text() == "said\n"


def test_one_that_will_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.launch.local_job, "PATIENCE", 0.1)
    deaf = "if rank == '1': signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    made = crew(tmp_path, deaf + SLEEPER + "time.sleep(0.5)\nsys.exit(130)")
    assert end_of(made, "on") == "exit code 130"
    assert [process.returncode for process in made.processes] == [130, -signal.SIGKILL]


def test_what_a_killed_launcher_leaves_ends_by_itself(tmp_path):
    code = "from benchmark.processes.contract import on_a_leash\non_a_leash()\n"
    code += "print(os.getpid(), flush=True)\n"
    pid = os.fork()
    if pid == 0:
        crew(tmp_path, code + "time.sleep(60)")
        time.sleep(60)
        os._exit(0)
    until("both run", lambda: len(pids(tmp_path / "log")) == 2, 20)
    assert all(map(start_of, pids(tmp_path / "log")))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until("both have ended", lambda: not any(map(start_of, pids(tmp_path / "log"))), 20)


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_gpu_that_is_asked_for_and_not_there_is_told(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="asks for cuda, but this machine has no usable GPU"):
        prepare(Machine(launcher="local", device="cuda"), ["digits"], tmp_path)
    assert prepare(Machine(launcher="local"), ["digits"], tmp_path) == ["cpu"]


def test_the_launcher_itself_never_loads_torch(tmp_path):
    code = "import sys\nfrom benchmark.cli.main import main\nmain(sys.argv[1:])\n"
    code += "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    arguments = command(tmp_path, "run", str(suite(tmp_path)), "--only", "method=scratch")[2:]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)
    [record] = records(tmp_path).values()
    assert record["environment"]["threads"] == 1
