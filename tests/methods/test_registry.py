"""The registry: a method is one file."""

from pathlib import Path

import pytest

import methods

METHOD = """
from methods.scratch import Scratch

class Mine(Scratch):
    name = {name!r}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder whose files belong to the package while the test runs."""
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    methods._registry.cache_clear()
    yield tmp_path
    methods._registry.cache_clear()


def test_the_six_are_there_in_order():
    assert [name for name in methods.names() if name in SIX] == sorted(SIX)
    assert methods.names() == sorted(methods.names())


SIX = ["scratch", "kd", "fitnets", "at", "fsp", "ab"]


def test_a_method_is_got_by_its_name():
    assert all(methods.get(name).name == name for name in methods.names())


def test_an_unknown_name_is_an_error_that_carries_the_name_and_the_options():
    with pytest.raises(methods.UnknownMethod, match=r"fitnet'.*ab, at") as caught:
        methods.get("fitnet")
    assert caught.value.name == "fitnet"
    assert caught.value.options == methods.names()
    assert isinstance(caught.value, ValueError)


def test_adding_one_file_adds_a_method(folder: Path):
    (folder / "added.py").write_text(METHOD.format(name="added"))
    assert "added" in methods.names()
    assert methods.get("added").__module__ == "methods.added"


def test_a_name_that_is_not_the_files_is_refused(folder: Path):
    (folder / "misnamed.py").write_text(METHOD.format(name="other"))
    with pytest.raises(TypeError, match=r"misnamed\.py must define one Method.*'other'"):
        methods.names()


def test_a_file_without_a_method_is_passed_over(folder: Path):
    (folder / "borrowed.py").write_text("from methods.kd import KD")
    assert "borrowed" not in methods.names()
