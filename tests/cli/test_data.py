"""The verb `data`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.data import run_action
from benchmark.config.errors import UserError
from benchmark.data import SOURCES
from benchmark.data.files import prepared_path
from benchmark.data.sets import tinyimagenet
from tests.cli.command import ROOT, TORCHLESS
from tests.data.official_layouts import picture
from tests.data.tiny_imagenet import COUNTS, folder, root

__all__ = ["root"]  # a fixture


def output_of(action: str, names: list[str], where: Path) -> str:
    console = Console(width=200, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    run_action(action, names, where, console)
    return console.export_text()


def row(text: str, name: str) -> str:
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return line


def test_status_has_a_row_for_every_data_set_and_writes_nothing(tmp_path):
    text = output_of("status", [], tmp_path)
    assert all(row(text, name) for name in SOURCES)
    assert "ready" in row(text, "digits")
    assert "missing" in row(text, "stl10")
    assert "to be downloaded, 2,640 MB" in row(text, "stl10")
    assert list(tmp_path.iterdir()) == []


def test_status_names_the_data_folder_and_why(tmp_path, monkeypatch):
    monkeypatch.delenv("KD_DATA", raising=False)
    assert f"data folder: {tmp_path} (from --data-root)" in output_of(
        "status", ["digits"], tmp_path
    )
    assert "the default; change it with --data-root" in output_of(
        "status", ["digits"], ROOT / "data"
    )
    monkeypatch.setenv("KD_DATA", str(tmp_path))
    assert f"data folder: {tmp_path} (from $KD_DATA)" in output_of("status", ["digits"], tmp_path)


def test_status_distinguishes_original_and_prepared_files(root):
    assert "to prepare" in row(output_of("status", [], root), "tinyimagenet")
    tinyimagenet.load(root, COUNTS)
    assert ".prepared/tinyimagenet-1" in row(output_of("status", [], root), "tinyimagenet")


def test_prepare_reports_what_it_has_checked(tmp_path):
    text = output_of("prepare", ["digits"], tmp_path)
    assert "digits: ready and checked: 599 train and 1,198 test images of 16 px in 10" in text


def test_a_problem_with_one_set_does_not_stop_the_next(root):
    (folder(root) / "val" / "val_annotations.txt").unlink()
    with pytest.raises(UserError, match=r"(?s)tinyimagenet: .*cannot be used.*val: neither"):
        output_of("prepare", ["tinyimagenet", "digits"], root)


def test_prepare_verifies_files_that_were_prepared_before(root):
    tinyimagenet.load(root, COUNTS)
    path = tinyimagenet.prepared(root).folder / "train.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"tinyimagenet: .* is damaged: train\.npy's sha256"):
        output_of("prepare", ["tinyimagenet"], root)


def test_names_are_checked_and_prepare_needs_some(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'cifar100'"):
        output_of("status", ["cifar-100"], tmp_path)
    with pytest.raises(UserError, match="name at least one data set: cifar10, "):
        output_of("prepare", [], tmp_path)


def test_status_and_help_work_without_torch(tmp_path):
    words = ["data", "status", "digits", "--data-root", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "run_all.py"), *words], capture_output=True, text=True
    )
    assert ran.returncode == 0
    assert "ready" in row(ran.stdout, "digits")
    ran = subprocess.run(
        [sys.executable, "-c", TORCHLESS, "data", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0
    assert "{status,prepare}" in ran.stdout
    ran = subprocess.run(
        [sys.executable, "-c", TORCHLESS, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: `data` needs torch, which is not installed here")
    assert len(ran.stderr.splitlines()) == 1


def test_status_lists_own_folders_in_the_sizes_that_are_prepared(tmp_path):
    for path in ("birds", "more/fish", "[b]"):
        for part in ("train", "val"):
            picture(tmp_path / path / part / "one" / "0.png", 1, (8, 8))
    text = output_of("status", [], tmp_path)
    for name in ("imagefolder/birds@SIZE", "imagefolder/more/fish@SIZE", "imagefolder/[b]@SIZE"):
        assert "to prepare" in row(text, name)
    prepared = output_of("prepare", ["imagefolder/birds@8", "imagefolder/birds@16"], tmp_path)
    assert "1 train and 1 test images of 8 px in 1 classes" in prepared
    text = output_of("status", [], tmp_path)
    assert "ready" in row(text, "imagefolder/birds@8")
    assert "ready" in row(text, "imagefolder/birds@16")
    assert "birds@SIZE" not in text


def test_a_data_root_that_is_not_written_serves_an_image_folder_from_a_cache(tmp_path, monkeypatch):
    data, cache = tmp_path / "data", tmp_path / "cache"
    for part in ("train", "val"):
        picture(data / "birds" / part / "one" / "0.png", 1, (8, 8))
    monkeypatch.setenv("KD_CACHE", str(cache))
    files = sorted(data.rglob("*"))
    name = ["imagefolder/birds@8"]
    assert "ready and checked" in output_of("prepare", name, data)
    assert sorted(data.rglob("*")) == files
    assert "ready" in row(output_of("status", [], data), *name)
    monkeypatch.delenv("KD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert "to prepare" in output_of("status", name, data)
    monkeypatch.setattr(prepared_path, "is_writable", lambda _: False)
    assert "ready and checked" in output_of("prepare", name, data)
    assert sorted(data.rglob("*")) == files
    assert list((cache / "kd-suite").glob("*/*/manifest.json"))
