"""The reference page is the schema's, and says something of every key."""

from pathlib import Path

from benchmark.cli.main import main
from benchmark.cli.reference import reference_page
from benchmark.config.recipe import Recipe
from benchmark.suite.schema import DatasetSection, SuiteFile

PAGE = Path(__file__).parents[2] / "docs" / "suite-file.md"


def test_the_page_is_what_the_command_prints(capsys):
    assert main(["reference"]) == 0
    assert capsys.readouterr().out == PAGE.read_text() == reference_page()


def test_every_key_has_a_row_with_its_type_and_default():
    page = reference_page()
    for model in (SuiteFile, DatasetSection, Recipe):
        for name, field in model.model_fields.items():
            assert f"**`{name}`**" if field.is_required() else f"| `{name}` |" in page
    assert "| **`epochs`** | whole number above 0, at most 1,000,000 |  |" in page
    assert "| `momentum` | number at least 0, below 1 | `0.9` |" in page
    assert "| `init_epochs` | `inside` or `extra` | `extra` |" in page
    assert "| `largest` | whole number above 0 | `8` |" in page


def test_every_key_but_the_seed_and_momentum_is_explained():
    rows = [line.split(" | ") for line in reference_page().splitlines() if line.startswith("| ")]
    assert {row[0] for row in rows if row[-1].strip(" |") == ""} <= {"| `seed`", "| `momentum`"}
