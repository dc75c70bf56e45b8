"""What changes numbers changes the id, and nothing else does."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmark.config.runs import ImportedTeacher, TrainRun
from tests.config.example_runs import DATA, KD, RUN, TEACHER


def leaves(data: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, (*place, key))
    else:
        yield place


def changed(data: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(data))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    other = {
        "limit": 100,
        "flip": True,
        "nesterov": True,
        "lr_drops": [0.5],
        "lr_factor": 0.2,
        "momentum": 0.8,
        "init_epochs": "inside",
        "teacher": None,
        "numerics": "fast",
    }
    value = inner[place[-1]]
    inner[place[-1]] = other.get(place[-1], f"{value}x" if isinstance(value, str) else 7)
    return copy


def test_an_id_is_a_folders_name_whatever_the_network_is_called():
    found = RUN.model_copy(update={"student": "torchvision/resnet18"})
    assert found.id.startswith("digits-torchvision-resnet18-kd-s1-")


def test_images_that_are_held_out_make_another_run():
    held = RUN.model_copy(update={"dataset": DATA.model_copy(update={"validation": 100})})
    assert held.id != RUN.id
    assert held.cohort_key != RUN.cohort_key
    assert TrainRun.parse(held.as_json()) == held
    assert "validation" not in RUN.as_json()["dataset"]


def test_an_id_is_a_readable_stem_and_ten_hex_digits():
    stem, _, digest = RUN.id.rpartition("-")
    assert stem == "digits-resnet8-kd-s1"
    assert len(digest) == 10
    int(digest, 16)


def test_ids_never_change():
    # A change here orphans everybody's records: it needs a reason and a line in the changelog.
    assert (TEACHER.id, RUN.id) == GOLDEN


# Of the teacher's teacher there is nothing.
PLACES = [p for p in leaves(RUN.as_json()) if p != ("teacher", "teacher")]


@pytest.mark.parametrize("place", PLACES)
def test_every_field_down_to_the_teachers_recipe_is_in_the_id(place):
    other = TrainRun.parse(changed(RUN.as_json(), place))
    assert other != RUN
    assert other.id != RUN.id


def test_a_run_survives_its_own_config_file():
    again = TrainRun.parse(json.loads(json.dumps(RUN.as_json())))
    assert again == RUN
    assert again.id == RUN.id


def test_what_an_id_is_made_of_is_what_the_runs_config_says():
    held = DATA.model_copy(update={"validation": 100})
    imported = ImportedTeacher(dataset="digits", student="resnet20", weights="0" * 64)
    for run in (
        RUN,
        TEACHER,
        RUN.model_copy(update={"dataset": held}),
        RUN.model_copy(update={"teacher": imported}),
        RUN.model_copy(update={"method": KD.model_copy(update={"version": (1, 2)})}),
    ):
        assert list(run.plain.items()) == list(run.as_json().items())


def test_runs_of_equal_parts_share_what_is_written_of_them():
    other = RUN.model_copy(update={"seed": 2})
    assert other.plain["recipe"] is RUN.plain["recipe"]
    assert other.plain["teacher"] is RUN.plain["teacher"]
    assert other.plain["seed"] == 2


def test_a_whole_number_and_the_same_real_one_are_the_same_run():
    data = RUN.as_json()
    data["recipe"]["lr"] = 1
    one = TrainRun.parse(data)
    data["recipe"]["lr"] = 1.0
    assert one.id == TrainRun.parse(data).id


def test_a_changed_copy_has_an_id_of_its_own():
    assert (
        RUN.id
        != RUN.model_copy(update={"seed": 9}).id
        == TrainRun.parse(RUN.as_json() | {"seed": 9}).id
    )


def test_a_student_needs_its_teacher_and_scratch_needs_nothing():
    assert RUN.needs == (TEACHER,)
    assert TEACHER.needs == ()


def test_runs_share_a_stream_when_images_batches_and_seed_agree():
    data = RUN.as_json()
    assert TrainRun.parse(data | {"student": "wrn_16_1"}).cohort_key == RUN.cohort_key
    assert TrainRun.parse(data | {"seed": 2}).cohort_key != RUN.cohort_key
    recipe = data["recipe"]
    longer = TrainRun.parse(data | {"recipe": recipe | {"epochs": 3}})
    wider = TrainRun.parse(data | {"recipe": recipe | {"batch_size": 3}})
    assert longer.cohort_key == RUN.cohort_key != wider.cohort_key


GOLDEN = ("digits-resnet20-scratch-s0-0cff17a180", "digits-resnet8-kd-s1-d6fb64703f")
