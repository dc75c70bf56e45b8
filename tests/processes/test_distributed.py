"""Several processes that train together reach the same results as one process."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.config import seeds
from benchmark.config.errors import UserError
from benchmark.data.sets.digits import DIGITS
from benchmark.data.stream import Stream, TestImages
from benchmark.job import __main__ as job
from benchmark.job.claimed_run import ClaimedRun
from benchmark.launch.local import Launcher, run_all
from benchmark.launch.machine import Machine, Paths
from benchmark.processes.contract import MASTER_FD
from benchmark.processes.distributed import SINGLE_PROCESS, Ranks, join_process_group
from benchmark.processes.identity import process_start_time
from benchmark.store.folder import Store
from benchmark.training.cohort import train_learners
from benchmark.training.learner import Learner
from methods.interface import Batch, Budget, Features, Losses, Method, Phase, Shapes
from tests.cli.command import KEPT, children, numbers, records, wait_for_a_checkpoint
from tests.job import in_process
from tests.processes import forks
from tests.training import learners

SHAPES = Shapes((8, 16, 16), ((8, 16, 16),), 8, 10)


class Plain(nn.Module):
    """A network without batch norms, whose statistics would be a slice's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 10)
        self.unused = nn.Linear(2, 2)  # no loss reaches it: it must not move

    def forward(self, images: Tensor) -> Features:
        preact = self.conv(images)
        stage = preact.relu()
        embedding = stage.mean(dim=(2, 3))
        return Features(stage, (stage,), (preact,), embedding, self.fc(embedding))


class Distant(Method):
    """Something with a connector and two terms."""

    def __init__(self) -> None:
        super().__init__(None, SHAPES, SHAPES)
        self.connector = nn.Linear(8, 8)

    def phases(self, budget: Budget) -> list[Phase]:
        return [Phase("distill", budget.epochs, self._distill)]

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        if os.environ.get("FAILS") == os.environ.get("RANK", "alone") and batch.progress > 0.5:
            raise ValueError("no more of this")
        distance = (self.connector(student.embedding) - teacher.embedding).square().mean()
        ce = nn.functional.cross_entropy(student.logits, batch.labels)
        return {"ce": ce, "distant": distance}


def trained(ranks: Ranks) -> Learner:
    """Two epochs on 41 digits: batches of 16, 16 and 9, which two cannot share evenly."""
    torch.manual_seed(0)
    student, teacher, method = Plain(), Plain().requires_grad_(False).eval(), Distant()
    learner = Learner("plain", student, method, learners.RECIPE)
    learner.ranks = ranks
    data = learners.digits()
    stream = Stream(
        data.train.first(41),
        DIGITS,
        learners.DATASET,
        seed=seeds.derive("stream", 0),
        batch_size=16,
        device=learners.CPU,
        ranks=ranks,
    )
    test = TestImages(data.test.first(70), DIGITS, learners.CPU, 16)
    train_learners([learner], teacher, stream, test, lambda _: None)
    return learner


def member(rank: int, size: int, door: socket.socket, results: Any, extra: dict[str, str]) -> None:
    names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank}
    names["MASTER_PORT"] = door.getsockname()[1]
    if rank == 0:
        names[MASTER_FD] = door.detach()
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **extra}
    with join_process_group("cpu") as (ranks, _):
        learner = trained(ranks)
        failure = learner.failure.message if learner.failure else None
        weights = {k: v.numpy() for k, v in learner.student.state_dict().items()}
        results.put((rank, learner.history, weights, failure))


def together(size: int, **extra: str) -> list[tuple[Any, ...]]:
    """Train with ``size`` processes; return the results of each, in the order of ranks."""
    context = get_context("fork")
    results = context.Queue()
    with socket.create_server(("127.0.0.1", 0)) as door:
        started = [
            context.Process(target=member, args=(rank, size, door, results, extra))
            for rank in range(size)
        ]
        for process in started:
            process.start()
    answers = sorted((results.get(timeout=120) for _ in started), key=lambda answer: int(answer[0]))
    for process in started:
        process.join(30)
        assert process.exitcode == 0
    return answers


def test_two_processes_reach_the_losses_and_weights_of_one():
    alone = trained(SINGLE_PROCESS)
    for _, history, weights, failure in together(2):
        assert failure is None
        for ours, theirs in zip(history, alone.history, strict=True):
            assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-5)
            assert ours["test_loss"] == pytest.approx(theirs["test_loss"], rel=1e-5)
            assert ours["top1"] == pytest.approx(theirs["top1"])
        for name, value in alone.student.state_dict().items():
            torch.testing.assert_close(torch.from_numpy(weights[name]), value)
    torch.manual_seed(0)
    assert torch.equal(alone.student.get_parameter("unused.weight"), Plain().unused.weight)


def test_a_failure_on_one_process_fails_on_all_and_none_hangs():
    first, second = together(2, FAILS="1")
    assert "no more of this" in second[3]
    assert "process 1 of 2" in first[3]
    assert "no more of this" in first[3]


@pytest.mark.parametrize("count", [2, 3, 16, 17])
def test_slices_of_a_batch_leave_nothing_out(count):
    parts = [Ranks(rank, 2).slice_of_batch(count) for rank in (0, 1)]
    assert parts[0].start == 0
    assert parts[0].stop == parts[1].start
    assert parts[1].stop == count
    assert all(part.stop > part.start for part in parts)


def test_a_batch_that_is_too_small_to_share_is_refused():
    with pytest.raises(UserError, match="a batch of 1 samples cannot be shared by 2 processes"):
        Ranks(0, 2).slice_of_batch(1)


SUITE = """
title: a test
dataset: {name: digits, limit: 48}
pairs: [resnet14 -> resnet8]
methods: {scratch: , untrained: }
seeds: [0]
recipe: {epochs: 12, batch_size: 16, lr: 0.05}
"""
MACHINE = Machine(launcher="local", workers=1, processes=2)


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in (folder / "results" / "jobs").glob("*.log"))


def begin(folder: Path) -> forks.Forked:
    """Do the suite with two processes a job; they and the launcher are forks of this process."""
    runs, store = in_process.grid(folder, SUITE).runs(), Store(folder / "results")

    def act() -> int:
        forks.fork_jobs()
        launcher = Launcher(MACHINE, Paths(store.root, folder), ["cpu"])
        found = run_all(runs, store, launcher, lambda _: None)
        return 0 if {*found.values()} == {"done"} else 1

    forks.load()
    with (folder / "log").open("ab") as log:
        return forks.Forked(act, log, log)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where two processes have finished the suite without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    assert begin(folder).wait(120) == 0, logs(folder)
    return folder


def test_a_job_of_two_processes_leaves_the_records_of_one(whole: Path, tmp_path: Path):
    alone = in_process.perform(in_process.grid(tmp_path, SUITE), tmp_path)
    for run_id, ours in records(whole).items():
        theirs = alone.run(run_id).read_record()
        assert ours["environment"]["processes"] == 2
        assert theirs["environment"]["processes"] == 1
        assert [row["phase"] for row in ours["history"]] == [
            row["phase"] for row in theirs["history"]
        ]
        # Batch norms saw halves of each batch: near, not equal.
        first = ours["history"][0]["losses"], theirs["history"][0]["losses"]
        assert first[0] == pytest.approx(first[1], rel=0.3)
        assert first[0] != first[1]
        names = {path.name for path in (whole / "results" / "runs" / run_id).iterdir()}
        assert names == KEPT


# ---------------------------------------------------------------- ends of all kinds


def pair_of(process: forks.Forked) -> list[int]:
    """The processes of the running job, rank 0 first."""
    pair = sorted(pid for pid in children(process) if os.getsid(pid) == pid)
    assert len(pair) == 2
    return pair


def none_is_left(pids: Iterable[int]) -> bool:
    until = time.monotonic() + 30
    while any(process_start_time(pid) is not None for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(process_start_time(pid) is not None for pid in pids)


def left_behind(folder: Path) -> dict[str, str]:
    """Texts of the claims and failures in the results folder."""
    paths = (folder / "results").glob("runs/*/[cf]*.json")
    return {path.stem: path.read_text() for path in paths if path.stem != "config"}


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same suite, interrupted repeatedly; what was left behind each time."""
    folder = tmp_path_factory.mktemp("disturbed")
    found: dict[str, Any] = {}

    def end(how: str, number: int, victim: Callable[[forks.Forked, list[int]], int]) -> None:
        process = begin(folder)
        wait_for_a_checkpoint(folder, process)
        pair = pair_of(process)
        os.kill(victim(process, pair), number)
        found[how] = (process.wait(60), none_is_left(pair), left_behind(folder))

    end("interrupted", signal.SIGINT, lambda launcher, _: launcher.pid)
    end("launcher", signal.SIGKILL, lambda launcher, _: launcher.pid)
    end("leader", signal.SIGKILL, lambda _, pair: pair[0])
    end("second", signal.SIGKILL, lambda _, pair: pair[1])
    assert begin(folder).wait(120) == 0, logs(folder)
    found["records"] = records(folder)
    return found


def test_an_interrupt_ends_both_processes_and_releases_their_claim(disturbed: dict[str, Any]):
    assert disturbed["interrupted"] == (130, True, {})


def test_processes_that_train_together_end_with_a_killed_launcher(disturbed: dict[str, Any]):
    assert disturbed["launcher"] == (-signal.SIGKILL, True, {})


@pytest.mark.parametrize("which", ["leader", "second"])
def test_after_one_process_is_killed_the_other_ends_and_the_failure_is_recorded(
    which: str, disturbed: Any
):
    code, gone, left = disturbed[which]
    assert (code, gone) == (1, True)
    assert "failure" in left
    assert "the job ended (signal 9)" in left["failure"]


def test_after_all_these_ends_the_bits_equal_those_of_an_undisturbed_suite(
    disturbed: Any, whole: Path
):
    made, expected = disturbed["records"], records(whole)
    assert len(made) == len(expected) > 0
    assert all(numbers(made[run_id]) == numbers(expected[run_id]) for run_id in made)


def test_an_error_of_one_process_is_recorded_as_the_runs_failure(tmp_path: Path, monkeypatch):
    def broken(member: ClaimedRun, ranks: Ranks) -> None:
        if not ranks.is_main:
            raise ValueError("no such luck")

    monkeypatch.setattr(job, "resume_from_checkpoint", broken)
    assert begin(tmp_path).wait(60) == 1
    store = Store(tmp_path / "results")
    failures = [store.run(path.name).read_failure() for path in (store.root / "runs").iterdir()]
    said = [failure["message"] for failure in failures]
    assert said == ["RuntimeError: process 1 of 2: ValueError: no such luck"] * 2
