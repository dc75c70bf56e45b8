"""Imported teachers: the same network from every file format, and no code from a file is run."""

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import models
from benchmark.config.errors import UserError
from benchmark.evaluation.accuracy import evaluate
from benchmark.job import import_teacher
from benchmark.job.import_teacher import import_checkpoint
from benchmark.models.checkpoints import find_weights, network_with_weights, read_checkpoint
from benchmark.store.folder import RunFolder, Store
from tests.cli.command import SUITE, call, records, suite
from tests.training import learners


def save(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def state() -> dict[str, torch.Tensor]:
    """Of a teacher that has learnt something."""
    return learners.teacher().state_dict()


def wrapped(kind: str) -> Any:
    plain = state()
    crd = {"epoch": 240, "model": plain, "accuracy": torch.tensor(79.42)}
    return {
        "plain": plain,
        "crd": crd,
        "crd best, with its options": {**crd, "opt": argparse.Namespace(lr=0.05, trial="0")},
        "numbers of numpy": {**crd, "accuracy": np.float64(79.42), "best": np.float32(79)},
        "DataParallel": {"state_dict": {f"module.{key}": v for key, v in plain.items()}},
        "without counters": {k: v for k, v in plain.items() if "num_batches" not in k},
    }[kind]


KINDS = ["plain", "crd", "crd best, with its options", "numbers of numpy", "DataParallel"]


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_the_same_network_whatever_it_comes_in(
    kind: str, old_format: bool, tmp_path: Path
):
    options = {"_use_new_zipfile_serialization": not old_format}
    file = save(tmp_path / "teacher.pth", wrapped(kind), **options)
    network = network_with_weights("resnet14", 10, find_weights(read_checkpoint(file), file), file)
    assert models.fingerprint(network) == models.fingerprint(learners.teacher())


def test_safetensors_are_read_too(tmp_path: Path):
    safetensors = pytest.importorskip("safetensors.torch")
    file = tmp_path / "teacher.safetensors"
    safetensors.save_file({key: value.contiguous() for key, value in state().items()}, file)
    network = network_with_weights("resnet14", 10, find_weights(read_checkpoint(file), file), file)
    assert models.fingerprint(network) == models.fingerprint(learners.teacher())


def test_counters_that_old_files_lack_are_not_missed(tmp_path: Path):
    file = save(tmp_path / "teacher.pth", wrapped("without counters"))
    network = network_with_weights("resnet14", 10, find_weights(read_checkpoint(file), file), file)
    assert torch.equal(network.state_dict()["conv1.weight"], state()["conv1.weight"])


def imported(tmp_path: Path, published: float | None = None) -> RunFolder:
    file = save(tmp_path / "teacher.pth", wrapped("crd"))
    store = Store(tmp_path / "results")
    return import_checkpoint(file, "resnet14", "digits", published, store, tmp_path)


def test_a_teacher_is_measured_on_arrival_and_kept_with_its_hash(tmp_path: Path):
    folder = imported(tmp_path)
    record = folder.read_record()
    _, test = learners.streams()
    data = learners.digits().test
    test.images, test.labels = data, data.labels
    assert record["result"]["top1"] == pytest.approx(evaluate(learners.teacher(), test).top1)
    assert record["config"]["weights"] == models.fingerprint(learners.teacher())
    assert folder.read_weights(record["weights"]["sha256"])
    assert record["remark"] is None
    assert record["file"]["name"] == "teacher.pth"
    predicted, labels = np.load(folder.predictions)
    assert 100 * (predicted == labels).mean() == pytest.approx(record["result"]["top1"])
    nll = record["measures"]["calibration"]["nll"]
    assert nll == pytest.approx(record["result"]["test_loss"], rel=1e-5)
    assert record["cost"]["flops"] == record["cost"]["deployed_flops"] > 0


def test_a_second_import_changes_nothing(tmp_path: Path):
    folder = imported(tmp_path)
    before = folder.record.stat().st_mtime_ns
    assert imported(tmp_path).path == folder.path
    assert folder.record.stat().st_mtime_ns == before


def test_a_teacher_below_its_published_accuracy_says_so(tmp_path: Path):
    assert imported(tmp_path, published=99.99).read_record()["remark"] == (
        "below the 99.99 that was published"
    )


class Harmful:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch harm",)


@pytest.mark.parametrize("old_format", [False, True])
def test_code_in_a_file_is_refused_and_not_run(
    old_format: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    content = {"model": state(), "opt": Harmful()}
    options = {"_use_new_zipfile_serialization": not old_format}
    for file in (save(tmp_path / "a.pth", content, **options), tmp_path / "b.pth"):
        if file.name == "b.pth":
            file.write_bytes(pickle.dumps(content["opt"]))
        with pytest.raises(UserError, match=r"refused: it holds more than weights") as caught:
            read_checkpoint(file)
        assert file.name == "b.pth" or "system" in str(caught.value)  # b.pth is no torch file
    assert not (tmp_path / "harm").exists()


def test_a_file_that_is_no_checkpoint_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / "page.pth").write_text("<html>Not found</html>")
    with pytest.raises(UserError, match=r"page\.pth: (is no checkpoint|refused)"):
        read_checkpoint(tmp_path / "page.pth")
    with pytest.raises(UserError, match="no such file"):
        read_checkpoint(tmp_path / "gone.pth")
    file = save(tmp_path / "a.pth", {"epoch": 3, "weights": "elsewhere"})
    with pytest.raises(UserError, match=r"no weights in it.*it holds: epoch, weights"):
        find_weights(read_checkpoint(file), file)


@pytest.mark.parametrize(
    ("network", "classes", "said"),
    [
        ("resnet20", 10, r"is no resnet20 of 10 classes: missing layer1\.2\.conv1\.weight"),
        ("resnet8", 10, r"unknown layer1\.1\.conv1\.weight.* and \d+ more"),
        ("resnet14", 100, r"fc\.weight is \(10, 64\), resnet14 has \(100, 64\)"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_layer(
    network: str, classes: int, said: str
):
    with pytest.raises(UserError, match=said):
        network_with_weights(network, classes, state(), Path("teacher.pth"))


def test_weights_that_are_no_numbers_are_refused():
    spoilt = {**state(), "fc.bias": torch.full((10,), torch.nan)}
    with pytest.raises(UserError, match=r"not all of fc\.bias are finite"):
        network_with_weights("resnet14", 10, spoilt, Path("teacher.pth"))


def test_the_crd_benchmarks_accuracies_are_known():
    assert import_teacher.PUBLISHED["cifar100", "resnet32x4"] == 79.42


def test_a_suite_is_taught_by_a_teacher_from_elsewhere(tmp_path: Path):
    weights = models.fingerprint(learners.teacher())
    text = SUITE.replace("  fitnets:\n", "") + f"teacher: {{imported: {{resnet14: {weights}}}}}\n"
    small = suite(tmp_path, text)
    refused = call(tmp_path, "run", str(small))
    assert refused.returncode == 2
    assert f"digits-resnet14-imported-{weights[:10]} is not in" in refused.stderr
    file = save(tmp_path / "teacher.pth", wrapped("crd"))
    words = ("teachers", "import", str(file), "--as", "resnet14", "--dataset", "digits")
    done = call(tmp_path, *words, "--published", "99.99")
    assert f"resnet14: {weights}" in done.stdout
    finished = call(tmp_path, "run", str(small))
    assert finished.returncode == 0, finished.stderr
    assert f"resnet14 imported ({weights[:10]})" in " ".join(finished.stdout.split())
    assert "below the 99.99 that was published" in finished.stdout
    made = records(tmp_path)
    [kd] = [r for r in made.values() if r["config"].get("method", {}).get("name") == "kd"]
    brought = made[f"digits-resnet14-imported-{weights[:10]}"]
    assert kd["teacher"]["sha256"] == brought["weights"]["sha256"]
    assert sorted(r["config"]["student"] for r in made.values()) == [
        "resnet14",
        "resnet8",
        "resnet8",
    ]
