"""What another process does comes back as if it had been done here."""

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import pytest

import methods
from benchmark.config.document import load
from benchmark.config.errors import UserError
from benchmark.processes import child
from benchmark.processes.child import in_a_child, shared
from benchmark.suite.suite import make_manifest
from tests.methods.plugin import WORKING, clean

__all__ = ["clean"]  # the fixture
SUITE = """
title: a test
dataset: digits
pairs: [resnet14 -> resnet8, resnet20 -> resnet8x4]
methods: {kd: , mine: }
seeds: [0, 1]
recipe: {epochs: 4, batch_size: 32, lr: 0.05}
"""


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that need not load torch again."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(child, "get_context", lambda _: context)


def where(item: int) -> tuple[int, int]:
    return item, os.getpid()


def killed(item: int) -> int:
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_child_shares_work_with_a_fork_in_order(forked: None):
    items, processes = zip(*in_a_child(shared, where, range(5)), strict=True)
    assert items == (0, 1, 2, 3, 4)
    assert processes[::2] == processes[:1] * 3
    assert processes[1::2] == processes[1:2] * 2
    assert len({*processes, os.getpid()}) == 3


def test_who_may_have_threads_shares_work_with_nobody():
    assert shared(where, range(3)) == [(item, os.getpid()) for item in range(3)]


def test_a_fork_that_is_killed_is_told_not_waited_for(forked: None):
    with pytest.raises(UserError, match="killed from outside"):
        in_a_child(shared, killed, range(3))


def test_a_methods_mistakes_are_the_same_from_another_process():
    error = pickle.loads(pickle.dumps(methods.BadMethod(["a.py:1: one", "a.py:2: two"])))
    assert error.mistakes == ["a.py:1: one", "a.py:2: two"]
    assert str(error) == "a.py:1: one\na.py:2: two"


@pytest.mark.parametrize("width", [64, 256])
def test_a_method_that_fails_on_one_pair_is_told_alike_by_either_process(
    width: int, tmp_path: Path, forked: None, clean: None
):
    (tmp_path / "suite.yaml").write_text(SUITE)
    check = f"assert student.embedding.shape[1] != {width}, 'too wide'"
    (tmp_path / "mine.py").write_text(WORKING.replace("return {", f"{check}\n        return {{"))
    document, files = load(tmp_path / "suite.yaml"), [str(tmp_path / "mine.py")]
    said = []
    for call in (in_a_child, lambda function, *given: function(*given)):
        with pytest.raises(UserError) as caught:
            call(make_manifest, document, "suite", "code", files, tmp_path)
        said.append(str(caught.value))
    assert said[0] == said[1] == f"mine: AssertionError: too wide ({tmp_path}/mine.py:21)"
