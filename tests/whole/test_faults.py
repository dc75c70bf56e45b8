"""Whatever stops a job, and wherever: started again, it ends as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchmark.config.errors import UserError, explain_os_error
from benchmark.job import __main__ as job
from benchmark.job.file import Job
from benchmark.store.claim import STALE_SECONDS, claim_run, read_claim
from benchmark.store.folder import RunFolder, Store
from tests.cli.command import KEPT, call, numbers, suite
from tests.job.in_process import do, grid
from tests.whole.faults import Death, Deaths, Full, Moments, forked

SUITE = """
title: a test
dataset: {name: digits, limit: 32}
pairs: [resnet14 -> resnet8]
methods: {scratch: {}}
seeds: [0]
recipe: {epochs: 2, batch_size: 32, lr: 0.05}
"""
YEARS = 10 * 365 * 86400.0

forks = pytest.mark.skipif(
    torch.cuda.device_count() > 0,
    reason="a fork cannot train where torch sees a GPU: hide it (CUDA_VISIBLE_DEVICES=)",
)


class Small:
    """A run of a second, and how it ends undisturbed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        [self.run] = (r for r in grid(folder, SUITE).runs().values() if "resnet8" in r.id)
        self.record = self.again(folder / "undisturbed")

    def start(self, results: Path) -> int:
        """What a launcher and its job do; return the exit code."""
        try:
            Store(results).run(self.run.id).write_config(self.run.as_json())
            asked = Job([self.run.id], str(results), str(self.folder), "cpu")
            asked.write(results / "jobs" / "1.json")
        except OSError as error:
            print(explain_os_error(error))
            return 2
        return job.main([str(results / "jobs" / "1.json")])

    def watched(self, results: Path, moments: Moments, log: Path) -> int:
        """Start it in a process of its own, with somebody who comes at every moment."""

        def act() -> int:
            results.mkdir(exist_ok=True)
            with pytest.MonkeyPatch.context() as patch:
                moments.watch(patch)
                code = self.start(results)
            log.with_suffix(".moments").write_text(json.dumps(moments.passed))
            return code

        return forked(act, log)

    def again(self, results: Path) -> dict[str, object]:
        """Start it again, in this process; return its numbers once all else is as it should be."""
        folder = self.folder_in(results)
        folder.write_config(self.run.as_json())
        if folder.state() != "done":
            do([self.run.id], Store(results), results, self.folder)
        Store(results).tidy([self.run.id])
        record = folder.read_record()
        assert folder.read_weights(record["weights"]["sha256"])
        assert {path.name for path in folder.path.iterdir()} == KEPT
        assert not list(results.rglob(".*"))
        return numbers(record)

    def folder_in(self, results: Path) -> RunFolder:
        return Store(results).run(self.run.id)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def moments(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder for every moment at which the run could die: what would then be there."""
    tmp_path = tmp_path_factory.mktemp("moments")
    (tmp_path / "kept").mkdir()
    deaths = Deaths(tmp_path / "results", tmp_path / "kept")
    assert small.watched(tmp_path / "results", deaths, tmp_path / "log") == 0
    assert small.again(tmp_path / "results") == small.record
    return tmp_path / "kept"


# ---------------------------------------------------------------- every write


@forks
def test_death_at_any_moment_costs_no_finished_epoch_and_no_bit(small, moments, capsys):
    passed = sorted(moments.iterdir())
    kinds = {path.name.split()[1] for path in passed}
    assert kinds == {"mkdir", "open", "write", "write-half", "fsync", "replace", "link", "unlink"}
    assert len(passed) > 60
    saved = 0
    for moment in passed:
        saved += "replace .checkpoint.pt" in moment.name  # it comes just before that
        epochs = saved - ("replace .checkpoint.pt" in moment.name)
        assert small.again(moment) == small.record, moment.name
        trained = re.findall(r"epoch (\d)/2", capsys.readouterr().out)
        assert trained == ["1", "2"][epochs:], moment.name
    assert saved == 2


@forks
@pytest.mark.parametrize("length", [1, 1000])
def test_a_disk_that_is_full_at_any_moment_is_reported_and_costs_no_bit(
    small, moments, tmp_path, length
):
    """Full for one change, or from then on."""
    for start, name in enumerate(sorted(path.name for path in moments.iterdir())):
        # What is refused later in the same file comes to the same; some moments cannot be refused.
        if name.split()[1] in ("unlink", "write") or name.endswith((small.run.id, "jobs")):
            continue
        results, log = tmp_path / name, tmp_path / f"{start}.log"
        small.watched(results, Full(results, start, length), log)
        assert "No space left on device" in log.read_text(), name
        assert small.folder_in(results).state() != "running", name
        assert not list(results.rglob(".*")), name
        assert small.again(results) == small.record, name


@forks
def test_what_the_disk_refuses_to_one_run_is_no_matter_to_its_cohort(small, tmp_path):
    class Refusing(Full):
        def come(self, moment: str, path: Path) -> None:
            if small.run.id in path.parts and "checkpoint" in moment:
                super().come(moment, path)

    made = grid(tmp_path, SUITE.replace("methods: {", "methods: {kd: {}, ")).runs()
    runs = {run_id: run for run_id, run in made.items() if not run.needs}
    results = tmp_path / "results"
    for run in runs.values():
        Store(results).run(run.id).write_config(run.as_json())
    asked = Job([*runs], str(results), str(small.folder), "cpu")
    asked.write(results / "jobs" / "1.json")

    def act() -> int:
        with pytest.MonkeyPatch.context() as patch:
            Refusing(results, 0, 1000).watch(patch)
            return job.main([str(results / "jobs" / "1.json")])

    forked(act, tmp_path / "log")
    states = Store(results).states(runs)
    assert states.pop(small.run.id) == "failed"
    assert set(states.values()) == {"done"}
    failure = small.folder_in(results).read_failure()
    assert failure["message"].startswith("no room left to write (")
    assert small.again(results) == small.record


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def died(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder as a run left it that died with both its epochs saved."""
    tmp_path = tmp_path_factory.mktemp("died")
    death = Death(tmp_path / "results", "open .student.pt")
    assert small.watched(tmp_path / "results", death, tmp_path / "log") == 9
    return tmp_path / "results"


def damage(path: Path, draw: random.Random) -> None:
    """Cut off an end, or turn one bit."""
    content = bytearray(path.read_bytes())
    at = draw.randrange(len(content))
    if draw.random() < 0.5:
        del content[at:]
    else:
        content[at] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


@forks
@pytest.mark.parametrize("seed", range(6))
def test_a_checkpoint_damaged_anywhere_gives_way_to_the_one_before(
    small, died, tmp_path, capsys, seed
):
    results = shutil.copytree(died, tmp_path / "results")
    damage(small.folder_in(results).checkpoint, random.Random(seed))
    assert small.again(results) == small.record
    out = capsys.readouterr().out
    assert "checkpoint.pt: is damaged" in out
    assert "going on from checkpoint.previous.pt" in out
    assert re.findall(r"epoch (\d)/2", out) == ["2"]


@forks
@pytest.mark.parametrize("seed", range(2))
def test_a_run_whose_checkpoints_are_both_damaged_starts_over_and_says_so(
    small, died, tmp_path, capsys, seed
):
    results, draw = shutil.copytree(died, tmp_path / "results"), random.Random(seed)
    damage(small.folder_in(results).checkpoint, draw)
    damage(small.folder_in(results).previous_checkpoint, draw)
    assert small.again(results) == small.record
    out = capsys.readouterr().out
    assert "is damaged" in out
    assert "starts from the beginning" in out
    assert re.findall(r"epoch (\d)/2", out) == ["1", "2"]


# ---------------------------------------------------------------- clocks and dead hosts


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    real = time.time

    def shift(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return shift


@forks
@pytest.mark.parametrize("shift", [-YEARS, -STALE_SECONDS - 1, STALE_SECONDS + 1, YEARS])
def test_a_clock_that_is_set_steals_no_live_claim_and_keeps_no_dead_one(tmp_path, clock, shift):
    ready, go = os.pipe()
    holder = os.fork()
    if holder == 0:
        claim_run(tmp_path)
        os.write(go, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    clock(shift)
    assert claim_run(tmp_path) is None
    os.kill(holder, 9)
    os.waitpid(holder, 0)
    mine = claim_run(tmp_path)
    assert mine is not None
    clock(0)
    assert mine.beat()


def elsewhere(folder: Path, heartbeat: float) -> None:
    """Rewrite a claim as one that a node without a word since then has made."""
    path = folder / "claim.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "machine": "n7 boot pid:[1]", "heartbeat": heartbeat}))


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        (STALE_SECONDS - 5, False),
        (STALE_SECONDS + 1, True),
        (-3600, False),
        (-YEARS, True),
        (YEARS, True),
    ],
)
def test_a_dead_hosts_claim_is_taken_once_it_is_stale_whatever_clock_it_had(
    small, died, tmp_path, age, taken
):
    results = shutil.copytree(died, tmp_path / "results")
    folder = small.folder_in(results)
    elsewhere(folder.path, time.time() - age)
    assert (folder.state() == "running") is not taken
    if taken:
        assert small.again(results) == small.record
    else:
        assert claim_run(folder.path) is None


def test_a_clock_that_jumps_about_changes_no_number(small, tmp_path, monkeypatch):
    real, draw = time.time, random.Random(0)
    monkeypatch.setattr(time, "time", lambda: real() + draw.choice([-YEARS, 0, YEARS]))
    assert small.again(tmp_path / "results") == small.record


# ---------------------------------------------------------------- file systems that lack something


@pytest.fixture(params=["EPERM", "ENOTSUP", "ENOSYS"])
def no_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(errno, request.param)

    def refuse(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number), str(source))

    monkeypatch.setattr(os, "link", refuse)


def test_a_file_system_without_hard_links_will_do(small, tmp_path, no_links):
    assert small.again(tmp_path / "results") == small.record
    folder = small.folder_in(tmp_path / "results")
    assert folder.write_record({"schema": 1}) is False
    assert numbers(folder.read_record()) == small.record
    with pytest.raises(UserError, match="holds another run"):
        folder.write_config({})


@forks
def test_without_hard_links_one_of_those_that_race_for_a_claim_wins(tmp_path, no_links):
    begin = time.time() + 0.3

    def race() -> int:
        won = 0
        for i in range(100):
            while time.time() < begin + i * 0.003:
                pass
            won += claim_run(tmp_path / str(i)) is not None
        print(won)
        time.sleep(1)  # alive until all are through
        return 0

    children = []
    for i in range(2):
        children.append(os.fork())
        if children[-1] == 0:
            os._exit(forked(race, tmp_path / f"{i}.log"))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert sum(int((tmp_path / f"{i}.log").read_text()) for i in range(2)) == 100
    assert not list(tmp_path.glob("*/.*"))


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Mounts a folder once more, so that nobody can write through that."""
    mounted = tmp_path / "mounted"

    def mount(folder: Path) -> Path:
        mounted.mkdir()
        for words in (["--bind", str(folder)], ["-o", "remount,bind,ro"]):
            done = subprocess.run(["mount", *words, str(mounted)], capture_output=True, check=False)
            if done.returncode:
                mounted.rmdir()
                pytest.skip("mounting is not allowed here")
        return mounted

    yield mount
    subprocess.run(["umount", str(mounted)], capture_output=True, check=False)


def test_a_read_only_results_folder_is_one_clear_message(finished, tmp_path, read_only):
    (tmp_path / "results").symlink_to(read_only(finished / "results"))
    path = str(suite(tmp_path))
    again = call(tmp_path, "run", path, "--set", "recipe.epochs=4")
    assert again.returncode == 2
    assert again.stderr.startswith("error: not allowed to read or write here (")
    assert again.stderr.count("\n") == 1
    assert "Read-only file system" in again.stderr
    asked = call(tmp_path, "status", path)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "4 done" in asked.stdout


# ---------------------------------------------------------------- leftovers


def test_tidying_leaves_alone_what_is_not_done_or_still_held(small, died, tmp_path):
    store = Store(shutil.copytree(died, tmp_path / "results"))
    folder = store.run(small.run.id)
    before = {path.name for path in folder.path.iterdir()}
    store.tidy([small.run.id, "not-there"])
    assert {path.name for path in folder.path.iterdir()} == before
    held = claim_run(folder.path)
    assert held is not None
    folder.write_record({"schema": 1})  # and its writer has not come to the checkpoints yet
    store.tidy([small.run.id])
    assert read_claim(folder.path) is not None
    assert folder.checkpoint.exists()
    held.release()
    (folder.path / "notes.txt").touch()  # somebody's own
    store.tidy([small.run.id])
    assert {path.name for path in folder.path.iterdir()} == {
        "config.json",
        "record.json",
        "notes.txt",
    }


def test_weights_of_a_finished_run_are_not_written_over(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_config({})
    sha256 = folder.save_weights(b"weights")
    folder.write_record({"schema": 1})
    folder.save_weights(b"of one who was taken for dead")
    assert folder.read_weights(sha256) == b"weights"


def test_what_a_dead_writer_left_goes_with_the_next_writing_and_a_living_ones_stays(tmp_path):
    from benchmark.store.atomic import write_atomic

    def die() -> int:
        death = Death(tmp_path, "fsync")
        with pytest.MonkeyPatch.context() as patch:
            death.watch(patch)
            write_atomic(tmp_path / "table.md", b"half")
        return 0

    assert forked(die, tmp_path / "log") == 9
    [left] = tmp_path.glob(".*.tmp")
    living = tmp_path / left.name.replace(left.name.split(".")[-3], me())
    living.touch()
    write_atomic(tmp_path / "other.md", b"whole")
    assert left.exists()
    write_atomic(tmp_path / "table.md", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {
        "log",
        "other.md",
        "table.md",
        living.name,
    }


def me() -> str:
    from benchmark.store.atomic import _writer

    return _writer(os.getpid())
