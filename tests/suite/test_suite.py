"""A suite file expands to the runs it means, and all that is wrong with it is said at once."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from benchmark.config.document import load_document
from benchmark.config.errors import UserError
from benchmark.config.runs import ProbeRun, TrainRun
from benchmark.suite.grid import SuiteGrid, expand_suite
from benchmark.suite.suite import Suite

ROOT = Path(__file__).parents[2]
SUITE = """
title: a test
dataset: digits
pairs: [resnet14 -> resnet8]
methods:
  scratch:
  kd: {temperature: 2}
  fsp:
seeds: [0, 5]
recipe: {epochs: 4, batch_size: 32, lr: 0.1}
"""


def grid(tmp_path: Path, text: str = SUITE, *changes: str) -> SuiteGrid:
    path = tmp_path / "test.yaml"
    path.write_text(text)
    return expand_suite(load_document(path).with_overrides(changes), "test", tmp_path)


def trained(made: SuiteGrid) -> list[TrainRun]:
    """All runs that are no probes."""
    return [run for run in made.runs().values() if isinstance(run, TrainRun)]


def test_a_grid_is_methods_by_pairs_by_seeds_and_the_teachers(tmp_path):
    made = grid(tmp_path, SUITE.replace("[resnet14", "[resnet20 -> resnet8, resnet14"))
    assert len(made.cells) == 2 * 3 * 2
    assert [column.teacher.student for column in made.columns] == ["resnet20", "resnet14"]
    # The pairs share their student's baseline: 2 teachers, 2 scratch, 2 x 2 x 2 distilled.
    assert len(made.runs()) == 2 + 2 + 8


def test_parameters_are_resolved_with_the_methods_defaults(tmp_path):
    runs = trained(grid(tmp_path))
    assert [run.method.config for run in runs if run.method.name == "kd"] == [
        {"alpha": 0.9, "temperature": 2.0}
    ] * 2


def test_a_default_that_is_written_out_is_the_same_run(tmp_path):
    written = SUITE.replace("{temperature: 2}", "{temperature: 4.0, alpha: 0.9}")
    assert (
        grid(tmp_path, written).runs().keys()
        == grid(tmp_path, SUITE.replace("{temperature: 2}", "")).runs().keys()
    )


def test_what_the_command_line_changes_changes_the_ids(tmp_path):
    plain, short = grid(tmp_path), grid(tmp_path, SUITE, "recipe.epochs=2", "dataset.limit=99")
    assert not plain.runs().keys() & short.runs().keys()
    assert {run.recipe.epochs for run in short.runs().values()} == {2}
    assert {run.dataset.limit for run in short.runs().values()} == {99}
    assert short.manifest("code")["dataset_limit"] == 99


def test_what_is_held_out_of_train_is_in_every_runs_identity(tmp_path):
    plain, held = grid(tmp_path), grid(tmp_path, SUITE, "dataset={name: digits, validation: 100}")
    assert not plain.runs().keys() & held.runs().keys()
    assert {run.dataset.validation for run in held.runs().values()} == {100}
    assert held.manifest("code")["validation"] == 100


def test_a_teacher_may_be_trained_otherwise(tmp_path):
    made = grid(tmp_path, SUITE + "teacher: {seed: 7, recipe: {epochs: 9}}")
    teacher = made.columns[0].trained
    assert (teacher.seed, teacher.recipe.epochs, teacher.recipe.lr) == (7, 9, 0.1)
    scratch = next(c.run for c in made.cells if c.method == "scratch")
    assert scratch is not None
    assert scratch.recipe.epochs == 4


def test_scratch_is_the_same_run_however_initialising_epochs_are_counted(tmp_path):
    inside, extra = (
        {
            (run.method.name, run.seed): run.id
            for run in trained(grid(tmp_path, SUITE, f"recipe.init_epochs={mode}"))
        }
        for mode in ("inside", "extra")
    )
    assert inside["scratch", 5] == extra["scratch", 5]
    assert inside["fsp", 5] != extra["fsp", 5]


def test_a_pair_that_a_method_cannot_distil_is_a_cell_with_a_reason(tmp_path):
    made = grid(tmp_path, SUITE.replace("-> resnet8", "-> resnet8x4"))
    reasons = {cell.method: cell.reason for cell in made.cells}
    assert reasons["kd"] is reasons["scratch"] is None
    assert reasons["fsp"] == "widths differ: student 32-64-128-256, teacher 16-16-32-64"
    assert all((cell.run is None) == (cell.reason is not None) for cell in made.cells)


def test_a_suite_of_scratch_alone_trains_no_teacher(tmp_path):
    made = grid(tmp_path, SUITE.replace("  kd: {temperature: 2}\n  fsp:\n", ""))
    assert {run.student for run in made.runs().values()} == {"resnet8"}


def test_all_problems_of_a_file_are_reported_at_once_with_their_lines(tmp_path):
    wrong = """
title: a test
dataset: digit
pairs:
  - resnet32x4 -> resnet8x5
  - resnet20, resnet8
methods:
  kd: {temprature: 4}
  fitnet:
seeds: [0, 1, 0]
recipe: {epochs: '240 ', batch_size: 64, lr: 1e-1, warmup: 5}
"""
    with pytest.raises(UserError) as error:
        grid(tmp_path, wrong)
    text = re.sub(" +", " ", str(error.value))
    lines = text.splitlines()
    assert lines[0].endswith("test.yaml: 8 problems")
    said = {line.split()[1]: " ".join(line.split()[2:]) for line in lines[1:] if "line" in line}
    assert "dataset no such data set. Did you mean 'digits'? There are: " in said["3"]
    assert "pairs.0 'resnet8x5': no such network. Did you mean 'resnet8x4'?" in said["5"]
    assert "pairs.1 expected 'teacher -> student', got 'resnet20, resnet8'" in said["6"]
    assert "Did you mean 'temperature'? Fields: alpha, temperature" in text
    assert "methods.fitnet no such method. Did you mean 'fitnets'?" in said["9"]
    assert "seeds.2 0 is already in the list" in said["10"]
    assert "recipe.epochs expected a whole number, got '240 '" in text
    assert "recipe.warmup no such field." in text


def test_an_override_that_is_wrong_is_named_as_the_option(tmp_path):
    with pytest.raises(
        UserError, match=r"--set recipe.epoch +recipe.epoch +no such field. Did you"
    ):
        grid(tmp_path, SUITE, "recipe.epoch=2")


@cache
def repositorys(name: str) -> SuiteGrid:
    """A suite of the repository; the large ones take seconds to expand."""
    return expand_suite(load_document(ROOT / "configs" / f"{name}.yaml"), name, ROOT)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")))
def test_every_suite_of_the_repository_expands(name):
    assert all(cell.run or cell.reason for cell in repositorys(name).cells)


def test_the_cifar_suite_is_the_fields_protocol():
    made = repositorys("cifar100")
    pairs = [f"{column.teacher.student}:{column.student}" for column in made.columns]
    assert pairs == [
        "wrn_40_2:wrn_16_2",
        "wrn_40_2:wrn_40_1",
        "resnet56:resnet20",
        "resnet110:resnet20",
        "resnet110:resnet32",
        "resnet32x4:resnet8x4",
        "vgg13:vgg8",
        "vgg13:MobileNetV2",
        "ResNet50:MobileNetV2",
        "ResNet50:vgg8",
        "resnet32x4:ShuffleV1",
        "resnet32x4:ShuffleV2",
        "wrn_40_2:ShuffleV1",
    ]
    slow = {"MobileNetV2", "ShuffleV1", "ShuffleV2"}
    for run in made.runs().values():
        recipe = run.recipe
        assert (recipe.epochs, recipe.batch_size) == (240, 64)
        assert recipe.lr == (0.01 if run.student in slow else 0.05)
        assert (recipe.momentum, recipe.nesterov, recipe.weight_decay) == (0.9, False, 5e-4)
        assert [drop * 240 for drop in recipe.lr_drops] == [150, 180, 210]
        assert (run.dataset.padding, run.dataset.flip) == (4, True)
    refused = {c.column for c in made.cells if c.reason and c.method == "fsp@crd"}
    # As in the benchmark's table: FSP where the widths agree, and nowhere else.
    assert refused == {1, 7, 8, 9, 10, 11, 12}
    assert {c.method for c in made.cells if c.reason} == {"fsp", "fsp@crd"}
    assert "MobileNetV2 lr = 0.01" in made.manifest("code")["departures"]


def test_a_recipe_of_a_network_is_checked_like_the_common_one(tmp_path):
    text = SUITE + "recipes: {resnet8: {lr: 0.01, warmup: 3}, resnet9: {lr: 0.1}}"
    with pytest.raises(UserError) as error:
        grid(tmp_path, text)
    said = re.sub(" +", " ", str(error.value))
    assert "recipes.resnet8.warmup no such field." in said
    assert "recipes.resnet9 'resnet9': no such network. Did you mean 'resnet8'?" in said
    made = grid(tmp_path, SUITE + "recipes: {resnet8: {lr: 0.01}}")
    rates = {(run.student, run.recipe.lr) for run in made.runs().values()}
    assert rates == {("resnet8", 0.01), ("resnet14", 0.1)}


def test_a_control_is_taught_by_the_weights_that_the_teacher_started_from(tmp_path):
    made = grid(tmp_path, SUITE.replace("  fsp:", "  untaught: {method: kd, teacher: random}"))
    runs = {cell.method: cell.run for cell in made.cells if cell.seed == 0}
    kd, control = runs["kd"], runs["untaught"]
    assert isinstance(kd, TrainRun)
    assert isinstance(control, TrainRun)
    assert kd.teacher == made.columns[0].teacher
    assert isinstance(control.teacher, TrainRun)
    assert isinstance(kd.teacher, TrainRun)
    assert control.teacher.method.name == "untrained"
    assert (control.teacher.student, control.teacher.seed) == ("resnet14", kd.teacher.seed)
    assert control.teacher.recipe.epochs == 1
    assert control.teacher.id in made.runs()
    assert made.manifest("code")["methods"] == ["scratch", "kd", "untaught"]


def test_a_suite_of_controls_alone_trains_no_teacher(tmp_path):
    text = SUITE.replace(
        "  kd: {temperature: 2}\n  fsp:", "  untaught: {method: kd, teacher: random}"
    )
    made = grid(tmp_path, text)
    teachers = [run for run in trained(made) if run.student == "resnet14"]
    assert [run.method.name for run in teachers] == ["untrained"]
    assert made.manifest("code")["columns"][0]["teacher_run"] is None


def test_a_suite_without_a_teacher_names_none_in_its_manifest(tmp_path):
    scratch = SUITE.replace("  kd: {temperature: 2}\n  fsp:\n", "")
    assert grid(tmp_path, scratch).manifest("code")["columns"][0]["teacher_run"] is None
    made = grid(tmp_path).manifest("code")
    assert made["columns"][0]["teacher_run"] in made["runs"]


def test_a_single_epoch_cannot_hold_an_initialising_one_and_the_caption_will_say_so(tmp_path):
    for epochs, said in (("1", "extra"), ("2", "inside")):
        changes = ("recipe.init_epochs=inside", f"recipe.epochs={epochs}")
        assert grid(tmp_path, SUITE, *changes).manifest("code")["init_epochs"] == said


def test_what_departs_from_a_default_is_in_the_manifest_for_the_caption(tmp_path):
    text = SUITE + "teacher: {recipe: {epochs: 9, lr: 0.05}}"
    changes = ("methods.kd.alpha=0.9", "methods.fsp={weight: 0.01}")
    assert grid(tmp_path, text, *changes).manifest("code")["departures"] == [
        "kd temperature = 2",
        "fsp weight = 0.01",
        "teacher epochs = 9",
        "teacher lr = 0.05",
    ]


PROBES = """
probes:
  stl10: {protocol: hsakd}
  tiny: {dataset: tinyimagenet, protocol: strict, epochs: 7, limit: 500}
"""


def test_probes_are_columns_beside_the_pairs_own(tmp_path):
    made = grid(tmp_path, SUITE + PROBES)
    assert [column.heading for column in made.columns] == ["digits", "stl10", "tiny"]
    manifest = made.manifest("code")
    assert [c["dataset"] for c in manifest["columns"]] == ["digits", "stl10", "tiny"]
    assert len(made.cells) == 3 * 3 * 2
    assert manifest["dataset"] == "digits"
    assert manifest["probes"][1].startswith("tiny: a linear classifier on the frozen embedding")
    told = "tinyimagenet at 16 px, limited to 500 images, protocol strict, 7 epochs"
    assert told in manifest["probes"][1]


def test_every_student_and_the_teacher_are_probed_after_their_training(tmp_path):
    made = grid(tmp_path, SUITE + PROBES)
    runs = made.runs()
    probes = [run for run in runs.values() if isinstance(run, ProbeRun)]
    assert len(probes) == 2 * (1 + 3 * 2)
    order = list(runs)
    assert all(order.index(run.backbone.id) < order.index(run.id) for run in probes)
    without = [run.id for run in grid(tmp_path).runs().values()]
    assert [run.id for run in trained(made)] == without  # a probe changes nobody


def test_a_probe_uses_images_of_the_size_that_its_student_was_trained_on(tmp_path):
    made = grid(tmp_path, SUITE + PROBES)
    [hsakd, strict] = [column.probe for column in made.columns if column.probe]
    assert (hsakd.dataset.size, hsakd.dataset.crop, hsakd.dataset.flip) == (16, "resized", True)
    assert (strict.dataset.size, strict.dataset.crop, strict.dataset.flip) == (16, "padded", False)
    assert (hsakd.recipe.epochs, strict.recipe.epochs) == (100, 7)


def test_only_chooses_probes_by_their_column_and_brings_what_they_need(tmp_path):
    path = tmp_path / "test.yaml"
    path.write_text(SUITE + PROBES)
    suite = Suite.open(path, [], tmp_path / "results", True, data=tmp_path)
    kinds = Counter(type(r).__name__ for r in suite.select("dataset=stl10").values())
    assert kinds == {"TrainRun": 7, "ProbeRun": 7}
    one = suite.select("dataset=stl10,method=kd,seed=0")
    assert [type(run).__name__ for run in one.values()] == ["TrainRun", "TrainRun", "ProbeRun"]
    assert not any(isinstance(r, ProbeRun) for r in suite.select("dataset=digits").values())


def test_mistakes_in_probes_are_reported_with_their_line(tmp_path):
    wrong = "\nprobes:\n  stl11: {protocol: hsakd}\n  x: {dataset: digit, protocol: hsakt}\n"
    with pytest.raises(UserError) as error:
        grid(tmp_path, SUITE + wrong)
    text = " ".join(str(error.value).split())
    assert "probes.stl11 no such data set. Did you mean 'stl10'?" in text
    assert "probes.x.dataset no such data set. Did you mean 'digits'?" in text
    assert "probes.x.protocol must be 'hsakd' or 'strict', got 'hsakt'" in text


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("{name: digits, crop: resized, padding: 2}", "a resized crop has no padding"),
        ("{name: digits, fill: mirror}", "must be 'zeros' or 'reflect', got 'mirror'"),
        ("{name: digits, decoder: pillow}", "crop: resized"),
    ],
)
def test_crops_that_cannot_be_are_refused(tmp_path, part, says):
    with pytest.raises(UserError, match=says):
        grid(tmp_path, SUITE.replace("dataset: digits", f"dataset: {part}"))


def test_how_images_are_cropped_is_in_the_id_and_the_defaults_are_not(tmp_path):
    ids = {
        part: {run.id for run in trained(grid(tmp_path, SUITE.replace("dataset: digits", part)))}
        for part in (
            "dataset: digits",
            "dataset: {name: digits, size: 16, crop: padded, fill: zeros}",
            "dataset: {name: digits, fill: reflect}",
            "dataset: {name: digits, crop: resized}",
            "dataset: {name: digits, size: 24, crop: resized}",
        )
    }
    plain, same, *others = ids.values()
    assert plain == same
    assert all(plain.isdisjoint(other) for other in others)
    assert len(set().union(*others)) == 3 * len(plain)


def test_a_folder_of_images_is_a_data_set_by_its_path_and_its_content(tmp_path):
    text = SUITE.replace("dataset: digits", "dataset: imagefolder/birds@32")
    with pytest.raises(UserError, match="there is no folder of images at"):
        grid(tmp_path, text)
    for part in ("train", "test"):
        for name in ("auk", "emu"):
            path = tmp_path / "birds" / part / name / "0.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (40, 50)).save(path)
    made = grid(tmp_path, text)
    assert made.columns[0].source.classes == 2
    assert made.manifest("code")["local"]
    assert all(r.id.startswith("imagefolder-birds-32-") for r in made.runs().values())
    Image.new("RGB", (40, 50)).save(tmp_path / "birds/train/auk/1.png")
    assert made.runs().keys().isdisjoint(grid(tmp_path, text).runs().keys())
