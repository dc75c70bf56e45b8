"""A suite file expands to the runs it means, and all that is wrong with it is said at once."""

import re
from pathlib import Path

import pytest

from benchmark.config import UserError, load
from benchmark.runs import TrainRun
from benchmark.suite import Grid, expand

ROOT = Path(__file__).parent.parent
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


def grid(tmp_path: Path, text: str = SUITE, *changes: str) -> Grid:
    path = tmp_path / "test.yaml"
    path.write_text(text)
    return expand(load(path).with_overrides(changes), "test")


def test_a_grid_is_methods_by_pairs_by_seeds_and_the_teachers(tmp_path):
    made = grid(tmp_path, SUITE.replace("[resnet14", "[resnet20 -> resnet8, resnet14"))
    assert len(made.cells) == 2 * 3 * 2
    assert [column.teacher.student for column in made.columns] == ["resnet20", "resnet14"]
    # The pairs share their student's baseline: 2 teachers, 2 scratch, 2 x 2 x 2 distilled.
    assert len(made.runs()) == 2 + 2 + 8


def test_parameters_are_resolved_with_the_methods_defaults(tmp_path):
    runs = grid(tmp_path).runs().values()
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
            for run in grid(tmp_path, SUITE, f"recipe.init_epochs={mode}").runs().values()
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


def test_all_problems_of_a_file_are_said_at_once_with_their_lines(tmp_path):
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
    assert "seeds.2 0 is in the list already" in said["10"]
    assert "recipe.epochs expected a whole number, got '240 '" in text
    assert "recipe.warmup no such field." in text


def test_an_override_that_is_wrong_is_named_as_the_option(tmp_path):
    with pytest.raises(
        UserError, match=r"--set recipe.epoch +recipe.epoch +no such field. Did you"
    ):
        grid(tmp_path, SUITE, "recipe.epoch=2")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_suite_of_the_repository_expands(path):
    made = expand(load(path), path.stem)
    assert all(cell.run or cell.reason for cell in made.cells)


def test_the_cifar_suite_is_the_fields_protocol():
    made = expand(load(ROOT / "configs" / "cifar100.yaml"), "cifar100")
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
    assert kd is not None
    assert control is not None
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
    trained = [r for r in made.runs().values() if r.student == "resnet14"]
    assert [run.method.name for run in trained] == ["untrained"]
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
