"""Every suite, shrunk as a user would, on data in the official layouts: it ends in its table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torchvision import datasets

from benchmark import report
from benchmark.config.document import load_document
from benchmark.config.runs import ProbeRun, Run, TrainRun
from benchmark.data import SOURCES
from benchmark.data.sets import imagenet, tinyimagenet
from benchmark.data.sets.imagenet_layout import ExpectedCounts
from benchmark.store.folder import Store
from benchmark.suite.grid import SuiteGrid, expand_suite
from tests.data import official_layouts as layouts
from tests.job import in_process
from tests.training.learners import same

CONFIGS = Path(__file__).parents[2] / "configs"
COUNT = 4
PROBED = {"hsakd": 8, "strict": 240}
"""Images for a probe: `strict` holds out one of each class, and TinyImageNet has 200."""
TINY = ExpectedCounts(classes=200, train_total=400, train_min=2, train_max=2, test=1)


@dataclass(frozen=True)
class Shrunk:
    """What is left of a suite, and what its runs must then be."""

    pairs: list[str]
    methods: list[str]
    dataset: dict[str, Any]
    phases: dict[str, list[str]]
    """Of methods that train in more than one."""
    refused: tuple[str, ...] = ()
    """Rows that the first pair does not allow."""


SUITES = {
    "cifar100": Shrunk(
        ["vgg13 -> MobileNetV2", "vgg13 -> vgg8"],
        ["scratch", "kd", "fsp@crd", "crd+kd"],
        {"name": "cifar100", "padding": 4},
        {"fsp@crd": ["init", "task"]},
        refused=("fsp@crd",),
    ),
    "cifar100_ab": Shrunk(
        ["wrn_28_4 -> wrn_16_2"],
        ["scratch", "ab", "ft", "ofd"],
        {"name": "cifar100", "padding": 4, "fill": "reflect"},
        {"ab": ["init", "distill"], "ft": ["paraphrase", "distill"]},
    ),
    "cifar10_ab": Shrunk(
        ["wrn_40_1 -> wrn_16_1", "wrn_16_2 -> wrn_16_1"],
        ["scratch", "fitnets", "at", "ab"],
        {"name": "cifar10", "padding": 4, "fill": "reflect"},
        {"fitnets": ["hint", "distill"], "ab": ["init", "distill"]},
    ),
    "stl10": Shrunk(
        ["torchvision/resnet18 -> MobileNetV2"],
        ["scratch", "kd", "fsp", "ab"],
        {"name": "stl10", "padding": 12},
        {"ab": ["init", "distill"]},
        refused=("fsp",),
    ),
    "tinyimagenet": Shrunk(
        ["torchvision/resnet18 -> MobileNetV2"],
        ["scratch", "fitnets", "reviewkd"],
        {"name": "tinyimagenet", "padding": 8},
        {"fitnets": ["hint", "distill"]},
    ),
    "imagenet": Shrunk(
        ["torchvision/resnet34 -> torchvision/resnet18"],
        ["scratch", "ab", "dkd of beta 2"],
        {"name": "imagenet", "padding": 0, "crop": "resized", "decoder": "pillow"},
        {"ab": ["init", "distill"]},
    ),
    "transfer": Shrunk(
        ["vgg13 -> MobileNetV2"],
        ["scratch", "fsp", "ab"],
        {"name": "cifar100", "padding": 4},
        {"ab": ["init", "distill"]},
        refused=("fsp",),
    ),
}


class Done(NamedTuple):
    """What has become of a suite."""

    grid: SuiteGrid
    store: Store

    def read(self, suffix: str) -> str:
        return (self.store.root / "tables" / f"{self.grid.name}.{suffix}").read_text()

    def rows(self) -> list[dict[str, str]]:
        """The table's cells, one a line."""
        return [*csv.DictReader(io.StringIO(self.read("csv")))]

    def record(self, run: Run) -> dict[str, Any]:
        return self.store.run(run.id).read_record()

    def weights(self, run: Run) -> dict[str, Any]:
        """What a run has saved, compared with its checksum."""
        content = self.store.run(run.id).read_weights(self.record(run)["weights"]["sha256"])
        weights: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
        return weights

    def trained(self) -> list[TrainRun]:
        return [run for run in self.grid.runs().values() if isinstance(run, TrainRun)]

    def probes(self) -> list[ProbeRun]:
        return [run for run in self.grid.runs().values() if isinstance(run, ProbeRun)]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Done]]:
    """Do a suite that is asked for the first time; the readers are the ordinary ones."""
    root = tmp_path_factory.mktemp("official")
    with pytest.MonkeyPatch.context() as patch:
        batch = {"data_batch_1": range(10)}, {"test_batch": range(10)}
        layouts.cifar(root, patch, datasets.CIFAR10, *batch)
        layouts.cifar(root, patch, datasets.CIFAR100, {"train": range(20)}, {"test": range(20)})
        layouts.stl10(root, patch, train=60, test=20)
        layouts.tinyimagenet(root, TINY)
        layouts.imagenet(root)
        for source, load_counted in (
            (tinyimagenet.TINY_IMAGENET, partial(tinyimagenet.load, counts=TINY)),
            (imagenet.IMAGENET, partial(imagenet.load, counts=layouts.IMAGENET)),
        ):
            patch.setitem(SOURCES, source.name, replace(source, load=load_counted))
        yield cache(partial(perform, root))


def perform(root: Path, name: str) -> Done:
    """Plan a shrunk suite, do it and write its report."""
    left, document = SUITES[name], load_document(CONFIGS / f"{name}.yaml")
    assert set(left.pairs) <= set(document.data["pairs"])
    document.data["pairs"] = left.pairs
    document.data["methods"] = {row: document.data["methods"][row] for row in left.methods}
    changes = ["seeds=[0]", f"dataset.limit={COUNT}", "recipe.epochs=1", "recipe.batch_size=2"]
    # Of two steps at a suite's own rate, whether losses stay finite would be a matter of luck.
    rated = [f"recipes.{network}" for network in document.data.get("recipes", {})]
    changes += [f"{part}.lr=0.001" for part in ("recipe", *rated)]
    for label, part in document.data.get("probes", {}).items():
        changes += [f"probes.{label}.epochs=1", f"probes.{label}.limit={PROBED[part['protocol']]}"]
    grid = expand_suite(document.with_overrides(changes), name, root)
    store = in_process.perform(grid, root / "results" / name, root)
    report.write_tables_and_plots(
        report.ReportData(grid.manifest("code"), store.root / "runs", store.root)
    )
    return Done(grid, store)


def test_no_suite_is_left_out():
    names = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert {name for name in names if not name.startswith("quickstart")} == SUITES.keys()


@pytest.mark.parametrize("name", SUITES)
def test_every_cell_of_the_table_has_its_number_or_the_reason_why_there_is_none(name, done):
    made, left = done(name), SUITES[name]
    rows = made.rows()
    assert len(rows) == len(made.grid.columns) * (1 + len(left.methods))
    refused = {(column.student, row) for column in made.grid.columns[:1] for row in left.refused}
    for row in rows:
        if (row["student"], row["method"]) in refused:
            assert row["notes"].startswith("not applicable: widths differ: student 16-12-")
            assert row["notes"] in made.read("md")
        else:
            assert row["state"] == "done", row["notes"]
            assert 0 <= float(row["mean"]) <= 100


@pytest.mark.parametrize("name", SUITES)
def test_the_caption_says_what_was_left_of_the_suite(name, done):
    left = SUITES[name]
    dataset = left.dataset["name"]
    for suffix, percent in (("md", "%"), ("tex", r"\%")):
        caption = " ".join(done(name).read(suffix).split())
        assert f"Test top-1 ({percent}) on {dataset} (limited to {COUNT} images)" in caption
        assert "after the last of 1 epoch (" in caption
        assert "over 1 seed;" in caption


@pytest.mark.parametrize("name", SUITES)
def test_all_runs_saw_the_images_that_the_suite_says_cropped_as_it_says(name, done):
    expected = {**SUITES[name].dataset, "version": 1, "limit": COUNT, "flip": True}
    made = done(name)
    assert {run.dataset.name for run in made.trained()} == {expected["name"]}
    for run in made.trained():
        assert made.record(run)["config"]["dataset"] == expected


@pytest.mark.parametrize("name", SUITES)
def test_what_initialises_does_so_before_its_last_epoch(name, done):
    made = done(name)
    found = {
        run.method.name: [epoch["phase"] for epoch in made.record(run)["history"]]
        for run in made.trained()
    }
    assert {row: phases for row, phases in found.items() if len(phases) > 1} == SUITES[name].phases


# ---------------------------------------------------------------- probes


def test_every_network_of_transfer_is_probed_on_both_sets_by_both_protocols(done):
    made = done("transfer")
    headings = {row["dataset"] for row in made.rows()}
    assert headings == {"cifar100", "stl10", "tinyimagenet", "stl10 strict", "tinyimagenet strict"}
    probes = made.probes()
    assert len(probes) == 4 * len(made.trained()) == 4 * len(["the teacher", "scratch", "ab"])
    crops: dict[str, dict[str, Any]] = {
        "hsakd": {"crop": "resized", "padding": 0, "flip": True},
        "strict": {"padding": 0, "flip": False},
    }
    for run in probes:
        limit, name = PROBED[run.protocol], run.dataset.name
        said = {"name": name, "version": 1, "limit": limit, "size": 32, **crops[run.protocol]}
        assert made.record(run)["config"]["dataset"] == said
        told = f"{name} at 32 px, limited to {limit} images, protocol {run.protocol}, 1 epoch"
        assert told in made.read("md")


def test_what_transfer_probes_is_what_was_trained_to_the_last_bit(done):
    made = done("transfer")
    for run in made.probes():
        backbone = run.backbone
        assert isinstance(backbone, TrainRun)
        trained = made.record(backbone)
        assert made.record(run)["backbone"]["sha256"] == trained["weights"]["sha256"]
        if run.protocol == "hsakd":  # whose classifier is saved with the network below it
            saved = made.weights(run)
            below = {k.removeprefix("backbone."): v for k, v in saved.items() if "backbone." in k}
            assert any(key.endswith("running_var") for key in below)
            assert not same(below, made.weights(backbone))
