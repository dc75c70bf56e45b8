"""Where a job runs changes nothing, and a machine file that is wrong says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.config import UserError
from benchmark.launch import Launcher, prepare
from benchmark.machine import Machine, Paths
from tests.test_cli import call, command, numbers, records, suite

ROOT = Path(__file__).parent.parent


def machine(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    return path


def test_through_submitit_the_records_are_the_same_to_the_bit(finished, tmp_path):
    text = "{launcher: submitit-local, device: cpu, workers: 2, sbatch: {timeout_min: 20}}"
    where = machine(tmp_path, text)
    done = call(tmp_path, "run", str(suite(tmp_path)), "--machine", str(where))
    assert done.returncode == 0, done.stdout + done.stderr
    made, expected = records(tmp_path), records(finished)
    assert made.keys() == expected.keys()
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


def test_workers_are_one_a_gpu_or_one_a_core(tmp_path):
    auto, paths = Machine(launcher="local"), Paths(tmp_path, tmp_path)
    assert Launcher(auto, paths, ["cuda:0", "cuda:1"]).workers == 2
    assert Launcher(auto, paths, ["cpu"]).workers == len(os.sched_getaffinity(0))


def test_a_gpu_that_is_asked_for_and_not_there_is_told(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="asks for cuda, but this machine has no usable GPU"):
        prepare(Machine(launcher="local", device="cuda"), ["digits"], tmp_path)
    assert prepare(Machine(launcher="local"), ["digits"], tmp_path) == ["cpu"]


def test_the_launcher_itself_never_loads_torch(tmp_path):
    code = "import sys\nfrom benchmark.cli import main\nmain(sys.argv[1:])\n"
    code += "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules"
    arguments = command(tmp_path, "run", str(suite(tmp_path)), "--only", "method=scratch")[2:]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)
    assert len(records(tmp_path)) == 1
