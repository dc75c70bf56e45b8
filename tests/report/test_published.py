"""Published numbers: read with care, matched with cells, never mixed with ours."""

import csv
import io
import tomllib
from pathlib import Path

import pytest

from benchmark.config.errors import UserError
from benchmark.report import load, tables, tabulate
from benchmark.report.results import published
from benchmark.report.results.published import FOLDER, Library, library, match
from benchmark.report.tables.published_columns import Beside, beside, difference, lay_out_beside
from tests.report.grids import crd_grid, finish_all, manifest

FIELDS = "source,dataset,protocol,teacher,student,method,top1,std,n,epoch,status,note"
SOURCES = "key,title,where,n,epoch\ncrd,CRD,a README,5,last\nzoo,Zoo,another,,best on test\n"


def shelf(tmp_path: Path, *lines: str, sources: str = SOURCES) -> Library:
    (tmp_path / "sources.csv").write_text(sources)
    (tmp_path / "cifar100.csv").write_text("\n".join([FIELDS, *lines, ""]))
    return library(tmp_path)


def test_what_is_shipped_is_sound_and_says_each_thing_once():
    shipped = library(FOLDER)
    keys = [
        (v.source, v.dataset, v.protocol, v.teacher, v.student, v.method) for v in shipped.values
    ]
    assert len(keys) > 500
    assert len(set(keys)) == len(keys)
    assert {value.source for value in shipped.values} == set(shipped.sources)


def test_what_is_installed_has_the_files_of_the_results_folder():
    shipped = Path(published.__file__).parents[1] / "numbers"
    assert shipped.readlink() == Path("../../results/published")
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "report/numbers/*.csv" in settings["tool"]["setuptools"]["package-data"]["benchmark"]


def test_what_is_marked_as_copied_is_elsewhere_to_the_digit():
    values = library(FOLDER).values
    for copy in (value for value in values if value.status == "copied"):
        own = {
            value.top1
            for value in values
            if value.status != "copied"
            and (value.dataset, value.teacher, value.student, value.method)
            == (copy.dataset, copy.teacher, copy.student, copy.method)
        }
        assert copy.top1 in own, copy


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("crd,cifar100,,t,s,kd,74.9x,,,,,", "line 2: top1: "),
        ("crd,cifar100,,t,s,kd,174.9,,,,,", "line 2: top1: "),
        ("crd,cifar100,,t,s,kd,,,,,,", "line 2: top1: "),
        ("crd,cifar100,,t,s,kd,74.9,,,,guessed,", "line 2: status: "),
        ("crd,cifar100,,t,,kd,74.9,,,,,", "line 2: student: "),
        ("crd,cifar100,,t,s,kd,74.9,,,,,a,b", "line 2: "),
        ("nobody,cifar100,,t,s,kd,74.9,,,,,", "line 2: source 'nobody' is not in sources.csv"),
    ],
)
def test_a_line_that_cannot_be_is_an_error_that_names_it(tmp_path, line, says):
    with pytest.raises(UserError, match=r"cifar100\.csv: ") as error:
        shelf(tmp_path, line)
    assert says in str(error.value)


def test_without_a_folder_of_them_there_are_no_published_numbers(tmp_path):
    assert library(tmp_path / "none").values == []


def test_a_number_stands_beside_the_cell_of_its_data_set_pair_method_and_preset(tmp_path):
    known = shelf(
        tmp_path,
        "crd,cifar100,,,wrn_40_2,scratch,75.61,,,,,",
        "crd,cifar100,,wrn_40_2,wrn_16_2,kd,74.92,,,,,",
        "crd,cifar100,,wrn_40_2,wrn_40_1,kd,73.54,,,,,",
        "crd,cifar10,,wrn_40_2,wrn_16_2,kd,93.92,,,,,",
        "crd,cifar100,hsakd,wrn_40_2,wrn_16_2,kd,1,,,,,",
        "crd,cifar100,,wrn_40_2,wrn_16_2,ab,73,,,,,",
        "crd,cifar100,,wrn_40_2,wrn_16_2,ab@crd,72.5,,,,,",
    )
    grid = load(crd_grid(), tmp_path).manifest
    assert {at: [v.top1 for v in values] for at, values in match(grid, known).items()} == {
        (0, "teacher"): [75.61],
        (0, "kd"): [74.92],
        (0, "ab@crd"): [72.5],
    }


def test_a_row_whose_parameters_were_changed_is_another_method(tmp_path):
    known = shelf(tmp_path, "crd,cifar100,,wrn_40_2,wrn_16_2,kd,74.92,,,,,")
    changed = crd_grid() | {"as_published": {"kd": "kd; alpha = 0.5"}}
    assert match(load(changed, tmp_path).manifest, known) == {}


@pytest.mark.parametrize("change", [{"dataset_limit": 500}, {"validation": 5000}])
def test_nothing_is_published_of_a_part_of_a_data_set(tmp_path, change):
    known = shelf(tmp_path, "crd,cifar100,,wrn_40_2,wrn_16_2,kd,74.92,,,,,")
    assert match(load(crd_grid(**change), tmp_path).manifest, known) == {}


def made(tmp_path: Path, *lines: str, runs: str = "runs") -> Beside | None:
    known = shelf(tmp_path, *lines)
    results = load(crd_grid(), tmp_path / runs)
    return beside(results, tabulate(results), known, match(results.manifest, known))


def test_published_numbers_have_columns_of_their_own_with_source_n_and_epoch(tmp_path):
    found = made(
        tmp_path,
        "crd,cifar100,,wrn_40_2,wrn_16_2,kd,74.92,,,,,",
        "zoo,cifar100,,wrn_40_2,wrn_16_2,kd,70.5,0.25,,,differs,another recipe",
    )
    assert found is not None
    layout = lay_out_beside(found)
    assert [head[2:] for head in layout.grid.heads[1:]] == [
        ("measured", "n 3, last"),
        ("CRD", "n 5, last"),
        ("Zoo", "n ?, best on test"),
    ]
    [[line]] = layout.grid.blocks
    assert [entry.text for entry in line] == ["kd", "0/3", "74.92", "70.50 ± 0.25"]
    assert layout.notes == ("differs: another recipe",)
    assert "CRD: a README; Zoo: another." in layout.caption


def test_who_only_copied_has_no_column_but_a_line_in_the_csv(tmp_path):
    copy = "zoo,cifar100,,wrn_40_2,wrn_16_2,kd,74.92,,,,copied,CRD's"
    assert made(tmp_path, copy) is None
    own = "crd,cifar100,,wrn_40_2,wrn_16_2,kd,74.92,,,,,"
    library.cache_clear()
    found = made(tmp_path, own, copy)
    assert found is not None
    assert len(lay_out_beside(found).grid.heads) == 3


def test_the_difference_is_ours_less_theirs_in_points_and_in_our_spread(tmp_path):
    finish_all(tmp_path / "runs", crd_grid())
    found = made(
        tmp_path,
        "crd,cifar100,,wrn_40_2,wrn_16_2,kd,93,,,,,",
        "zoo,cifar100,,wrn_40_2,wrn_16_2,kd,93,,,,unverified,from memory",
    )
    assert found is not None
    row = next(row for row in found.table.rows if row.name == "kd")
    [cell] = row.cells
    assert cell.mean is not None
    assert cell.std is not None
    checked, remembered = found.of(row, 0)
    assert difference(cell, checked) == (cell.mean - 93, (cell.mean - 93) / cell.std)
    assert difference(cell, remembered) is None
    first, below = lay_out_beside(found).grid.blocks[0]
    assert [bool(entry.text) for entry in below] == [True, False, True, False]
    assert first[3].marks == "a"


def test_the_crd_table_has_published_columns_before_anything_is_trained(tmp_path):
    made = load(crd_grid(), tmp_path)
    files = tables(made, tabulate(made))
    assert {"small-published.tex", "small-published.csv", "small.json"} <= files.keys()
    lines = list(csv.DictReader(io.StringIO(files["small-published.csv"])))
    crd = [line for line in lines if line["source"].startswith("RepDistiller")]
    assert [(line["row"], line["published"]) for line in crd] == [
        ("teacher", "75.61"),
        ("scratch", "73.26"),
        ("kd", "74.92"),
        ("ab@crd", "72.5"),
    ]
    copied = {line["row"] for line in lines if line["status"] == "copied"}
    assert copied == {"kd"}
    assert "73.26" not in files["small.tex"]
    assert "73.26" not in files["small.csv"]


def test_without_a_match_there_is_no_file_of_published_numbers(tmp_path):
    made = load(manifest(), tmp_path)
    assert not [name for name in tables(made, tabulate(made)) if "published" in name]
