"""What a profile sets it sets whole, who has it says so, and `fast` keeps the law of the cohort."""

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from benchmark import models
from benchmark.config.runs import ProbeRun, TrainRun
from benchmark.data.sets.digits import DIGITS
from benchmark.models.folding import Folded
from benchmark.store.folder import Store
from benchmark.suite.grid import SuiteGrid
from benchmark.training import build
from benchmark.training.numerics import PROFILES, apply_profile, autocast_dtype
from methods.interface import Batch
from tests.job import in_process
from tests.training import learners

SUITE = """
title: two profiles
dataset: {name: digits, padding: 2, limit: 32}
pairs: [resnet14 -> resnet8]
methods: {kd: , ofd: }
seeds: [0]
recipe: {epochs: 1, batch_size: 16, lr: 0.05, init_epochs: inside}
"""
PROBED = SUITE + "probes: {fashionmnist: {protocol: hsakd}}\n"
FAST = "numerics: fast\n"


@pytest.fixture(autouse=True)
def strict_again() -> Iterator[None]:
    yield
    apply_profile("strict")


def flags() -> list[Any]:
    return [
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    ]


def spoil() -> None:
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True


@pytest.mark.parametrize(
    "before", [spoil, lambda: apply_profile("fast"), lambda: apply_profile("strict")]
)
def test_a_profile_is_the_same_whatever_was_set_before(before):
    before()
    apply_profile("strict")
    assert flags() == [1, True, False, False, False]
    before()
    apply_profile("fast")
    assert flags() == [1, False, True, True, False]


def test_no_profile_is_narrow_on_a_cpu():
    assert [autocast_dtype(name, learners.CPU) for name in PROFILES] == [None, None]


def test_a_suites_profile_is_every_runs_and_runs_of_two_profiles_share_nothing(tmp_path):
    strict, fast = (in_process.grid(tmp_path, PROBED + more).runs() for more in ("", FAST))
    assert len(strict) == len(fast) == 6
    assert any(isinstance(run, ProbeRun) for run in fast.values())
    for runs, numerics in ((strict, "strict"), (fast, "fast")):
        everybody = [each for run in runs.values() for each in (run, *run.trains_first)]
        assert {run.numerics for run in everybody} == {numerics}
    assert not strict.keys() & fast.keys()
    assert not {r.cohort_key for r in strict.values()} & {r.cohort_key for r in fast.values()}


def test_a_caption_will_say_that_the_numbers_are_fast(tmp_path):
    said = in_process.grid(tmp_path, SUITE + FAST).manifest("code")["departures"]
    assert "numerics = fast" in said
    assert not in_process.grid(tmp_path, SUITE).manifest("code")["departures"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[SuiteGrid, Store]:
    """A fast suite, run; `kd` and `ofd` were one cohort."""
    tmp_path = tmp_path_factory.mktemp("fast")
    made = in_process.grid(tmp_path, SUITE + FAST)
    return made, in_process.perform(made, tmp_path)


def test_a_record_says_how_it_was_computed_and_what_memory_it_took(done):
    made, store = done
    for run_id in made.runs():
        record = store.run(run_id).read_record()
        assert record["config"]["numerics"] == "fast"
        assert record["environment"]["autocast"] is None
        assert record["cost"]["peak_memory_mb"] > 0
        assert record["cost"]["peak_gpu_memory_mb"] is None


def test_a_fast_teacher_is_folded_and_a_strict_one_is_not(done):
    made, store = done
    students = [run for run in made.runs().values() if isinstance(run, TrainRun) and run.teacher]
    strict = [run.model_copy(update={"numerics": "strict"}) for run in students]
    assert [folded(runs, store) for runs in (students, strict)] == [15, 0]


def folded(runs: list[TrainRun], store: Store) -> int:
    """How many batch norms of a cohort's teacher are folded."""
    teacher = build.load_teacher(runs, store, DIGITS, learners.CPU)
    assert teacher is not None
    return sum(isinstance(module, Folded) for module in teacher.modules())


def test_the_law_of_the_cohort_holds_under_fast_too(done, tmp_path):
    made, store = done
    for run in made.runs().values():
        if run.needs:
            alone = Store(tmp_path / run.id)
            for known in (*run.needs, run):
                shutil.copytree(store.run(known.id).path, alone.run(known.id).path)
            (alone.run(run.id).path / "record.json").unlink()
            in_process.do([run.id], alone, alone.root, tmp_path)
            ours, theirs = (place.run(run.id).read_record() for place in (alone, store))
            assert ours["weights"] == theirs["weights"]
            assert ours["history"][0]["losses"] == theirs["history"][0]["losses"]


def test_a_narrow_network_computes_narrowly_and_shows_float32():
    # On a CPU no profile asks for this; the same lines do it on a GPU.
    network = models.build("wrn_16_1", 10, seed=0)
    images, labels = torch.randn(4, 3, 16, 16), torch.arange(4)
    exact = network.eval()(images)
    network.narrow = torch.bfloat16
    kinds = set()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _, __, output: kinds.add(output.dtype))
    shown = copy.deepcopy(network)(images)
    assert kinds == {torch.bfloat16}
    maps = [shown.stem, *shown.stages, *shown.preacts, *shown.crd, shown.embedding, shown.logits]
    assert {x.dtype for x in maps} == {torch.float32}
    assert not torch.equal(shown.logits, exact.logits)
    assert torch.allclose(shown.logits, exact.logits, atol=0.05 * exact.logits.abs().max().item())
    batch = Batch(labels, labels, torch.tensor(0.0))
    learners.cross_entropy(network.train()(images), shown, batch)["ce"].backward()  # type: ignore[no-untyped-call]
    assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.float32}
    assert all(p.grad is not None for p in network.parameters())
