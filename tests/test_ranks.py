"""Several processes that train together come to what one process comes to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import seeds
from benchmark.cohort import Learner, train
from benchmark.data.digits import DIGITS
from benchmark.data.stream import Stream, TestImages
from benchmark.errors import UserError
from benchmark.plan import Job
from benchmark.ranks import ALONE, Ranks, joined
from benchmark.store import Store
from methods.interface import Batch, Budget, Features, Losses, Method, Phase, Shapes
from tests import jobs, training

ROOT = Path(__file__).parent.parent
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
    learner = Learner("plain", student, method, training.RECIPE)
    learner.ranks = ranks
    data = training.digits()
    stream = Stream(
        data.train.first(41),
        DIGITS,
        training.DATASET,
        seed=seeds.derive("stream", 0),
        batch_size=16,
        device=training.CPU,
        ranks=ranks,
    )
    test = TestImages(data.test.first(70), DIGITS, training.CPU, 16)
    train([learner], teacher, stream, test, lambda _: None)
    return learner


def member(rank: int, size: int, port: int, told: Any, extra: dict[str, str]) -> None:
    names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **extra}
    torch.set_num_threads(1)
    with joined("cpu") as (ranks, _):
        learner = trained(ranks)
        failure = learner.failure.message if learner.failure else None
        weights = {k: v.numpy() for k, v in learner.student.state_dict().items()}
        told.put((rank, learner.history, weights, failure))


def together(size: int, **extra: str) -> list[tuple[Any, ...]]:
    """Train with so many processes; what each of them says, in order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    told = context.Queue()
    started = [
        context.Process(target=member, args=(rank, size, port, told, extra)) for rank in range(size)
    ]
    for process in started:
        process.start()
    said = sorted((told.get(timeout=120) for _ in started), key=lambda part: int(part[0]))
    for process in started:
        process.join(30)
        assert process.exitcode == 0
    return said


def test_two_processes_come_to_the_losses_and_weights_of_one():
    alone = trained(ALONE)
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


def test_what_fails_on_one_process_fails_on_all_and_hangs_none():
    first, second = together(2, FAILS="1")
    assert "no more of this" in second[3]
    assert "process 1 of 2" in first[3]
    assert "no more of this" in first[3]


@pytest.mark.parametrize("count", [2, 3, 16, 17])
def test_slices_of_a_batch_leave_nothing_out(count):
    parts = [Ranks(rank, 2).part(count) for rank in (0, 1)]
    assert parts[0].start == 0
    assert parts[0].stop == parts[1].start
    assert parts[1].stop == count
    assert all(part.stop > part.start for part in parts)


def test_a_batch_that_is_too_small_to_share_is_refused():
    with pytest.raises(UserError, match="a batch of 1 samples cannot be shared by 2 processes"):
        Ranks(0, 2).part(1)


SUITE = """
title: a test
dataset: {name: digits, limit: 48}
pairs: [resnet14 -> resnet8]
methods: {scratch: , untrained: }
seeds: [0]
recipe: {epochs: 2, batch_size: 16, lr: 0.05}
"""


def test_a_job_of_two_processes_leaves_the_records_of_one(tmp_path):
    made = jobs.grid(tmp_path, SUITE)
    whole = jobs.perform(made, tmp_path / "one")
    store = Store(tmp_path / "two")
    order = [run.id for run in made.runs().values()]
    for run in made.runs().values():
        store.run(run.id).write_config(run.as_json())
    path = tmp_path / "job.json"
    Job(order, str(store.root), str(tmp_path), "cpu").write(path)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *words, "-m", "benchmark.job", str(path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for run_id in order:
        ours, theirs = (where.run(run_id).read_record() for where in (store, whole))
        assert ours["environment"]["processes"] == 2
        assert theirs["environment"]["processes"] == 1
        assert [row["phase"] for row in ours["history"]] == [
            row["phase"] for row in theirs["history"]
        ]
        # Batch norms saw halves of each batch: near, not equal.
        first = ours["history"][0]["losses"], theirs["history"][0]["losses"]
        assert first[0] == pytest.approx(first[1], rel=0.3)
        assert first[0] != first[1]
        names = {path.name for path in store.run(run_id).path.iterdir()}
        assert names == {"config.json", "record.json", "student.pt"}
