"""The Slurm of the tests works, is isolated, and leaves nothing behind."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, until
from tests.slurm.processes import processes, program

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]


def submit(slurm: Cluster, script: str, *options: str) -> str:
    """Submit a script; return the job's id."""
    return slurm.run("sbatch", "--parsable", *options, f"--wrap={script}")


def wait_for_state(slurm: Cluster, job: str, state: str, seconds: float) -> None:
    ask = ("sacct", "--allocations", "--noheader", "--format=state", f"--jobs={job}")
    until(f"job {job} is {state}", lambda: slurm.run(*ask).strip() == state, seconds)


def listening(folder: Path) -> set[str]:
    """Return the addresses on which a cluster's processes listen, as /proc writes them."""
    sockets = set()
    for pid in processes(folder):
        with suppress(OSError):  # it has ended meanwhile
            sockets |= {f.readlink().name for f in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets
    }


def test_every_node_runs_jobs_and_sacct_records_them(slurm: Cluster, tmp_path: Path):
    script = f"touch {tmp_path}/$SLURMD_NODENAME"
    jobs = [submit(slurm, script, f"--nodelist={node}") for node in slurm.nodes]
    for job in jobs:
        wait_for_state(slurm, job, "COMPLETED", 90)
    assert {path.name for path in tmp_path.iterdir()} == {*slurm.nodes}


def test_a_job_sees_the_gpus_that_it_asked_for(slurm: Cluster):
    ask = ("printenv", "CUDA_VISIBLE_DEVICES")
    assert slurm.run("srun", "--nodes=1", "--gpus-per-node=2", *ask) == "0,1"
    each = slurm.run("srun", "--nodes=1", "--ntasks=2", "--gpus-per-task=1", *ask)
    assert {*each.split()} == {"0", "1"}


def test_a_job_survives_a_restart_of_the_controller(slurm: Cluster, tmp_path: Path):
    go_on = tmp_path / "go-on"
    job = submit(slurm, f"until [ -e {go_on} ]; do sleep 0.1; done")
    wait_for_state(slurm, job, "RUNNING", 90)
    slurm.restart_controller(lambda: None)
    go_on.touch()
    wait_for_state(slurm, job, "COMPLETED", 90)
    assert "Restarts=0" in slurm.run("scontrol", "--oneliner", "show", "job", job)


def test_a_job_of_a_lost_node_runs_again_and_the_node_is_used_again(slurm: Cluster, tmp_path: Path):
    seen = tmp_path / "seen"
    seen.touch()
    script = f"echo $SLURMD_NODENAME >> {seen}; [ $SLURM_RESTART_COUNT ] || sleep 600"
    job = submit(slurm, script)
    until("it runs", lambda: seen.read_text() != "", 90)
    lost = seen.read_text().strip()
    slurm.kill_node(lost)
    assert not processes(slurm.folder, lost)
    wait_for_state(slurm, job, "COMPLETED", 90)
    first, second = seen.read_text().split()
    assert first == lost != second
    slurm.start_node(lost)
    assert slurm.run("srun", f"--nodelist={lost}", "printenv", "SLURMD_NODENAME") == lost


def test_nothing_listens_beyond_loopback(slurm: Cluster):
    job = submit(slurm, "srun sleep 600")
    until("it runs", lambda: "sleep" in map(program, processes(slurm.folder)), 90)
    assert listening(slurm.folder) == {"0100007F"}
    slurm.run("scancel", job)


OWNER = """
from tests.slurm.cluster import Cluster
cluster = Cluster.start(nodes=1)
print(cluster.folder, cluster.port, flush=True)
cluster.run("srun", "sleep", "600", seconds=600)
"""


def test_a_second_cluster_has_its_own_ports_and_ends_with_its_owner(slurm: Cluster):
    command = [sys.executable, "-c", OWNER]
    owner = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout
        words = owner.stdout.readline().split()
        folder, port = Path(words[0]), int(words[1])
        assert port != slurm.port
        until("a job runs", lambda: "sleep" in map(program, processes(folder)), 90)
    finally:
        owner.kill()
        owner.communicate()
    until("all is gone", lambda: not folder.exists(), 90)
    assert not processes(folder)
    assert slurm.run("sinfo", "--noheader", "--format=%D", "--partition=main") == "7"
