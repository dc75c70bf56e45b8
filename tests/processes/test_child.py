"""A function in a child process returns and raises as if it had been called directly."""

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import pytest

import methods
from benchmark.config.document import load_document
from benchmark.config.errors import UserError
from benchmark.processes import child
from benchmark.processes.child import run_in_child_process
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
    """Children are forks, which need not import torch again."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(child, "get_context", lambda _: context)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def process_id() -> int:
    return os.getpid()


def test_a_function_runs_in_another_process(forked: None):
    assert run_in_child_process(process_id) != os.getpid()


def test_a_child_that_is_killed_is_reported_and_not_waited_for(forked: None):
    with pytest.raises(UserError, match="killed from outside"):
        run_in_child_process(killed)


def test_a_methods_mistakes_survive_pickling():
    error = pickle.loads(pickle.dumps(methods.BadMethod(["a.py:1: one", "a.py:2: two"])))
    assert error.mistakes == ["a.py:1: one", "a.py:2: two"]
    assert str(error) == "a.py:1: one\na.py:2: two"


@pytest.mark.parametrize("width", [64, 256])
def test_a_method_that_fails_on_one_pair_is_reported_alike_from_a_child_process(
    width: int, tmp_path: Path, forked: None, clean: None
):
    (tmp_path / "suite.yaml").write_text(SUITE)
    check = f"assert student.embedding.shape[1] != {width}, 'too wide'"
    (tmp_path / "mine.py").write_text(WORKING.replace("return {", f"{check}\n        return {{"))
    document, files = load_document(tmp_path / "suite.yaml"), [str(tmp_path / "mine.py")]
    messages = []
    for call in (run_in_child_process, lambda function, *given: function(*given)):
        with pytest.raises(UserError) as caught:
            call(make_manifest, document, "suite", "code", files, tmp_path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] == f"mine: AssertionError: too wide ({tmp_path}/mine.py:21)"
