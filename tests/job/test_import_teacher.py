"""Imported teachers: the same network from every file format, and no code from a file is run."""

import argparse
import gzip
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from benchmark import models
from benchmark.cli.main import parse_command_line
from benchmark.config.errors import UserError
from benchmark.evaluation.accuracy import evaluate
from benchmark.job import import_teacher
from benchmark.job.import_teacher import compare_with_published, import_checkpoint
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
    network = network_with_weights("resnet14", 10, read_checkpoint(file), file).network
    assert models.fingerprint(network) == models.fingerprint(learners.teacher())


def test_safetensors_are_read_too(tmp_path: Path):
    safetensors = pytest.importorskip("safetensors.torch")
    file = tmp_path / "teacher.safetensors"
    safetensors.save_file({key: value.contiguous() for key, value in state().items()}, file)
    network = network_with_weights("resnet14", 10, read_checkpoint(file), file).network
    assert models.fingerprint(network) == models.fingerprint(learners.teacher())


def test_counters_that_old_files_lack_are_not_missed(tmp_path: Path):
    file = save(tmp_path / "teacher.pth", wrapped("without counters"))
    network = network_with_weights("resnet14", 10, read_checkpoint(file), file).network
    assert torch.equal(network.state_dict()["conv1.weight"], state()["conv1.weight"])


def imported(tmp_path: Path, published: float | None = None) -> RunFolder:
    file = save(tmp_path / "teacher.pth", wrapped("crd"))
    store = Store(tmp_path / "results")
    return import_checkpoint(file, "resnet14", "digits", published, store, tmp_path).folder


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


def test_a_published_number_can_be_corrected(tmp_path: Path):
    file = save(tmp_path / "teacher.pth", wrapped("crd"))

    def give(published: float | Literal["none"] | None) -> tuple[Any, Any, list[str]]:
        store = Store(tmp_path / "results")
        folder, notes = import_checkpoint(file, "resnet14", "digits", published, store, tmp_path)
        record = folder.read_record()
        assert folder.load_record().weights.sha256
        return record["published"], record["remark"], notes

    assert give(99.99)[:2] == (99.99, "below the 99.99 that was published")
    assert give(None)[:2] == (99.99, "below the 99.99 that was published")
    number, remark, [note] = give(1.5)
    assert (number, remark) == (1.5, None)
    assert note.endswith("its published number was 99.99 and is 1.50 now")
    number, remark, [note] = give("none")
    assert (number, remark) == (None, None)
    assert note.endswith("its published number was 1.50 and is none now")


def test_the_crd_benchmarks_number_is_assumed_and_it_is_said_so():
    network = "resnet56"
    number, remark = compare_with_published(network, "cifar100", 70.0, None)
    assert (number, remark) == (72.34, "below the 72.34 of the CRD benchmark's resnet56")
    assert compare_with_published(network, "cifar100", 70.0, "none") == (None, None)
    assert compare_with_published(network, "cifar100", 70.0, 70.02) == (70.02, None)
    assert compare_with_published(network, "digits", 70.0, None) == (None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "101", "x", ""])
def test_a_published_number_is_a_percentage_or_none(text: str, capsys: pytest.CaptureFixture[str]):
    words = ["teachers", "import", "file.pth", "--as", "resnet14", f"--published={text}"]
    with pytest.raises(SystemExit, match="2"):
        parse_command_line(words)
    assert "expected a number from 0 to 100, or none" in capsys.readouterr().err
    assert parse_command_line([*words[:-1], "--published=none"]).published == "none"


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
    with pytest.raises(UserError, match="no such file"):
        read_checkpoint(tmp_path / "gone.pth")
    file = save(tmp_path / "a.pth", {"epoch": 3, "weights": "elsewhere"})
    with pytest.raises(UserError, match=r"no weights in it. It holds: epoch, weights"):
        find_weights(read_checkpoint(file), file)


@pytest.mark.parametrize(
    ("network", "classes", "said"),
    [
        ("resnet20", 10, r"is no resnet20 of 10 classes: \d+ missing: layer1\.2\.conv1\.weight"),
        (
            "resnet8",
            10,
            r"\d+ unknown: layer1\.1\.conv1\.weight, .*, \.\.\.. The weights fit resnet14$",
        ),
        (
            "resnet14",
            100,
            r"2 of another shape: fc\.weight is \(10, 64\), resnet14 has \(100, 64\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused_with_the_layer(
    network: str, classes: int, said: str
):
    with pytest.raises(UserError, match=said):
        network_with_weights(network, classes, state(), Path("teacher.pth"))


WRAPPERS: dict[str, Any] = {
    "torch.compile": lambda w: {f"_orig_mod.{k}": v for k, v in w.items()},
    "DDP of torch.compile": lambda w: {f"module._orig_mod.{k}": v for k, v in w.items()},
    "compiled inside": lambda w: {
        k.replace("layer1.", "layer1._orig_mod."): v for k, v in w.items()
    },
    "FSDP": lambda w: {f"_fsdp_wrapped_module.{k}": v for k, v in w.items()},
    "a student in a distiller": lambda w: {f"module.student.{k}": v for k, v in w.items()},
    "beside other modules": lambda w: {
        **{f"net.backbone.{k}": v for k, v in w.items()},
        "criterion.weight": torch.ones(3),
    },
    "lightning": lambda w: {
        "epoch": 3,
        "state_dict": {f"model.{k}": v for k, v in w.items()},
        "optimizer_states": [{}],
        "hyper_parameters": {"lr": 0.1},
    },
    "nested": lambda w: {"state": {"network": {"weights": dict(w)}}, "step": torch.tensor(3)},
    "thop's counters": lambda w: {
        **w,
        "total_ops": torch.zeros(1),
        "layer1.0.conv1.total_params": torch.zeros(1),
    },
    "half precision": lambda w: {k: v.half() if v.is_floating_point() else v for k, v in w.items()},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_weights_are_found_under_any_prefix_and_beside_counters(wrapper: str, tmp_path: Path):
    file = save(tmp_path / "teacher.pth", WRAPPERS[wrapper](state()))
    loaded = network_with_weights("resnet14", 10, read_checkpoint(file), file)
    assert loaded.remarks == []
    for key, value in loaded.network.state_dict().items():
        assert torch.allclose(value, state()[key].to(value.dtype), rtol=1e-3, atol=1e-3)


def test_raw_weights_are_taken_before_averaged_ones_and_it_is_said_how_to_take_those():
    averaged = {key: value + 1 for key, value in state().items()}
    content = {"model_ema": {"module": averaged}, "model": state()}
    loaded = network_with_weights("resnet14", 10, content, Path("a.pth"))
    assert models.fingerprint(loaded.network) == models.fingerprint(learners.teacher())
    [remark] = loaded.remarks
    assert remark == (
        "took the weights under model; `--weights model_ema.module` takes the averaged weights "
        "under model_ema.module"
    )
    other = network_with_weights("resnet14", 10, content, Path("a.pth"), "model_ema.module")
    assert torch.equal(other.network.state_dict()["fc.bias"], averaged["fc.bias"])
    with pytest.raises(UserError, match=r"no weights 'x' that fit a resnet14; there are \['model_"):
        network_with_weights("resnet14", 10, content, Path("a.pth"), "x")


def test_of_a_teacher_and_a_student_in_one_file_each_can_be_taken():
    teacher, student = learners.teacher().state_dict(), models.build("resnet14", 10, 5).state_dict()
    content = {f"{who}.{k}": v for who, w in (("teacher", teacher), ("student", student))
               for k, v in w.items()}  # fmt: skip
    for who, weights in (("teacher", teacher), ("student", student)):
        loaded = network_with_weights("resnet14", 10, content, Path("a.pth"), who)
        assert torch.equal(loaded.network.state_dict()["fc.weight"], weights["fc.weight"])


def test_missing_and_unknown_keys_are_shown_side_by_side():
    renamed = {key.replace("layer", "block"): value for key, value in state().items()}
    with pytest.raises(UserError, match=r"\d+ missing: .*; \d+ unknown: "):
        network_with_weights("resnet14", 10, renamed, Path("teacher.pth"))


def gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(b"weights"))


def archived(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def cut_off(path: Path) -> None:
    save(path, state())
    path.write_bytes(path.read_bytes()[:-2000])


def scripted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/constants.pkl", "")
        archive.writestr("net/data.pkl", "")


FILES: dict[str, Any] = {
    "a web page": lambda p: p.write_text("\n <!DOCTYPE html><html>Not found</html>"),
    "a pointer of Git LFS": lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"),
    "compressed by gzip": gzipped,
    "a tar archive": archived,
    r"a zip archive \(with readme.txt\)": zipped,
    "a zip file without its end": cut_off,
    "a TorchScript program": scripted,
    "an HDF5 file": lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "a NumPy array": lambda p: np.save(p.open("wb"), np.zeros(3)),
    "JSON text": lambda p: p.write_text('{"error": 404}'),
    "empty": lambda p: p.touch(),
    "first bytes are unknown": lambda p: p.write_bytes(b"\x01\x02\x03" * 50),
    "is not a regular file": lambda p: os.mkfifo(p),
}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_something_else_is_named(what: str, suffix: str, tmp_path: Path):
    file = tmp_path / f"teacher.{suffix}"
    FILES[what](file)
    with pytest.raises(UserError, match=what) as caught:
        read_checkpoint(file)
    assert "\n" not in str(caught.value)
    assert "could run code" not in str(caught.value)


@pytest.mark.parametrize("file", ["/dev/zero", "/"])
def test_a_device_or_a_folder_is_not_read(file: str):
    with pytest.raises(UserError, match="is not a regular file"):
        read_checkpoint(Path(file))


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path):
    file = tmp_path / "teacher.safetensors"
    file.write_bytes((20).to_bytes(8, "little") + b'{"a": "not a tensor"}' + bytes(20))
    with pytest.raises(UserError, match="is no checkpoint that can be read: "):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("sparse", lambda x: x.to_sparse()),
        ("without values", lambda x: x.to("meta")),
        ("quantised", lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)),
        ("of complex numbers", lambda x: x.to(torch.complex64)),
    ],
)
def test_a_tensor_of_an_unusual_kind_is_refused_by_name(kind: str, change: Any):
    unusual = {**state(), "fc.weight": change(state()["fc.weight"])}
    with pytest.raises(UserError, match=rf"fc\.weight is {kind}"):
        network_with_weights("resnet14", 10, unusual, Path("teacher.pth"))


def test_nothing_is_written_for_a_network_whose_outputs_are_not_finite(tmp_path: Path):
    huge = {k: v * 1e30 if k.endswith("weight") else v for k, v in state().items()}
    file = save(tmp_path / "teacher.pth", huge)
    store = Store(tmp_path / "results")
    with pytest.raises(UserError, match="outputs on the test images are not all finite"):
        import_checkpoint(file, "resnet14", "digits", None, store, tmp_path)
    assert not [*tmp_path.glob("results/runs/*")]


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
