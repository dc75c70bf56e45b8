"""The registry: a method is one file, of this package, of another one, or anywhere."""

import hashlib
import importlib
import sys
from importlib import metadata
from pathlib import Path

import pytest

import methods
from methods import registry
from tests.methods.plugin import METHOD, clean

__all__ = ["clean"]  # the fixture

SIX = ["scratch", "kd", "fitnets", "at", "fsp", "ab"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: None):
    """A folder whose files belong to the package while the test runs."""
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    return tmp_path


def plugin(tmp_path: Path, text: str, name: str = "mine.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def mistakes(path: Path) -> list[str]:
    """The messages to the author, with the folder removed from paths."""
    with pytest.raises(methods.BadMethod) as caught:
        methods.add_file(path)
    return [mistake.replace(f"{path.parent}/", "") for mistake in caught.value.mistakes]


def test_the_six_are_there_in_order():
    assert [name for name in methods.names() if name in SIX] == sorted(SIX)
    assert methods.names() == sorted(methods.names())


def test_a_method_is_got_by_its_name():
    assert all(methods.get(name).name == name for name in methods.names())


def test_an_unknown_name_is_an_error_that_carries_the_name_and_the_options():
    with pytest.raises(methods.UnknownMethod, match=r"fitnet'.*ab, at") as caught:
        methods.get("fitnet")
    assert caught.value.name == "fitnet"
    assert caught.value.options == methods.names()
    assert isinstance(caught.value, ValueError)


# ---------------------------------------------------------------- presets


def test_a_preset_has_its_own_values_and_is_part_of_the_name():
    spec = methods.parse("ab@crd")
    assert spec.name == "ab@crd"
    assert spec.kind is methods.get("ab")
    assert spec.defaults["second_phase"] == "ce"
    assert methods.parse("ab").defaults["second_phase"] == "kd"


def test_a_preset_whose_values_are_the_defaults_is_the_same_method():
    assert methods.parse("kd@crd").name == "kd"
    assert methods.parse("kd@crd").defaults == methods.parse("kd").defaults


def test_an_unknown_preset_is_reported_with_the_existing_ones():
    with pytest.raises(methods.UnknownMethod, match=r"no such preset of ab: 'ab@cdr'.*ab@crd"):
        methods.parse("ab@cdr")


def test_the_five_have_the_crd_benchmarks_preset():
    assert all("crd" in methods.get(name).presets for name in SIX[1:])


# ---------------------------------------------------------------- where methods come from


def test_adding_one_file_to_the_package_adds_a_method(folder: Path):
    plugin(folder, METHOD.format(name="added"), "added.py")
    assert "added" in methods.names()
    assert methods.get("added").__module__ == "methods.added"


def test_a_name_that_is_not_the_files_is_refused(folder: Path):
    plugin(folder, METHOD.format(name="other"), "misnamed.py")
    with pytest.raises(methods.BadMethod, match=r"misnamed\.py must define one Method.*'other'"):
        methods.names()


def test_a_file_without_a_method_is_passed_over(folder: Path):
    plugin(folder, "from methods.kd import KD", "borrowed.py")
    assert "borrowed" not in methods.names()


def test_a_file_anywhere_adds_its_methods(tmp_path: Path, clean: None):
    path = plugin(tmp_path, METHOD.format(name="mine"))
    assert methods.add_file(path) == ["mine"]
    assert "mine" in methods.names()
    assert methods.parse("mine+kd").kind.name == "mine+kd"


def test_a_file_may_be_given_again_when_it_has_changed(tmp_path: Path, clean: None):
    methods.add_file(plugin(tmp_path, METHOD.format(name="mine")))
    methods.add_file(
        plugin(tmp_path, METHOD.format(name="mine").replace("version = 1", "version = 2"))
    )
    assert methods.get("mine").version == 2


def test_a_file_that_is_given_again_leaves_no_method_of_before(tmp_path: Path, clean: None):
    methods.add_file(plugin(tmp_path, METHOD.format(name="mine")))
    methods.add_file(plugin(tmp_path, METHOD.format(name="renamed")))
    assert "renamed" in methods.names()
    assert "mine" not in methods.names()


def test_two_files_of_one_name_cannot_add_the_same_method(tmp_path: Path, clean: None):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    methods.add_file(plugin(tmp_path / "a", METHOD.format(name="mine")))
    other = plugin(tmp_path / "b", METHOD.format(name="mine").replace("version = 1", "version = 2"))
    with pytest.raises(methods.BadMethod, match="is named 'mine', and so is") as error:
        methods.add_file(other)
    assert str(tmp_path / "a" / "mine.py") in str(error.value)
    assert methods.get("mine").version == 1


def test_two_files_of_one_name_may_add_different_methods(tmp_path: Path, clean: None):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        methods.add_file(plugin(tmp_path / folder, METHOD.format(name=f"mine_{folder}")))
    assert {"mine_a", "mine_b"} <= set(methods.names())


def test_the_hash_of_a_plugin_is_that_of_the_source_that_was_run(tmp_path: Path, clean: None):
    path = plugin(tmp_path, METHOD.format(name="mine"))
    methods.add_file(path)
    first = methods.plugin_sources("mine")
    assert first == {"mine.py": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert methods.plugin_sources("mine+kd") == first
    assert methods.plugin_sources("kd@crd") == methods.plugin_sources("at+kd") == {}
    path.write_text("# edited, not yet loaded")
    assert methods.plugin_sources("mine") == first


@pytest.mark.parametrize("value", ["elsewhere", "elsewhere:Mine"])
def test_another_package_adds_methods_by_an_entry_point(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: None
):
    # An installed package as pip leaves it: a module, and metadata beside it.
    plugin(tmp_path, METHOD.format(name="theirs"), "elsewhere.py")
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\ntheirs = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert metadata.version("elsewhere") == "1.0"
        assert methods.get("theirs").__module__ == "elsewhere"
        assert methods.plugin_sources("theirs").keys() == {"elsewhere.py"}
    finally:
        sys.modules.pop("elsewhere", None)


# ---------------------------------------------------------------- an author's mistakes


def test_all_mistakes_are_reported_at_once_with_file_and_line(tmp_path: Path, clean: None):
    text = METHOD.replace("    name = {name!r}\n", "").replace("version = 1", "version = '1'")
    found = mistakes(plugin(tmp_path, text.replace("def phases", "def phase")))
    assert [mistake.partition(": Mine: ")[0] for mistake in found] == ["mine.py:6"] * 3
    assert "`name` is missing" in found[0]
    assert "`version` must be a whole number" in found[1]
    assert "`phases` is missing: without phases there is nothing to train" in found[2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'mine'", "'my method'", "`name` must be lower-case letters"),
        ("paper = None", "paper = 'Ours, 2026'", "`paper` must be a Paper"),
        ("@dataclass(frozen=True)", "@dataclass", "`Config` must be a frozen dataclass"),
        ("pass", "temperature: float", "Config.temperature has no default"),
        ("pass", "teacher: str = ''", "Config.teacher: the name is reserved"),
        ("paper = None", "paper = None; presets = {'crd': 1}", "must be a Config, not 1"),
    ],
)
def test_a_mistake_is_reported_in_the_authors_terms(
    old: str, new: str, message: str, tmp_path: Path, clean: None
):
    text = METHOD.format(name="mine")
    assert text.count(old) == 1
    (mistake,) = mistakes(plugin(tmp_path, text.replace(old, new)))
    assert mistake.startswith("mine.py:6: Mine: ")
    assert message in mistake


def test_a_name_that_is_taken_is_reported_with_both_places(tmp_path: Path, clean: None):
    (mistake,) = mistakes(plugin(tmp_path, METHOD.format(name="kd")))
    assert mistake.startswith("mine.py:6: Mine is named 'kd', and so is KD in ")
    assert "methods/kd.py:" in mistake
    assert methods.get("kd").__module__ == "methods.kd"


def test_a_file_that_does_not_run_is_reported_with_its_line(tmp_path: Path, clean: None):
    assert mistakes(plugin(tmp_path, "x = 1\ny = x.nothing\n")) == [
        "mine.py:2: AttributeError: 'int' object has no attribute 'nothing'"
    ]
    assert mistakes(plugin(tmp_path, "x = (\n")) == ["mine.py:1: SyntaxError: '(' was never closed"]
    assert mistakes(tmp_path / "gone.py") == ["gone.py: no such Python file"]
    assert "defines no subclass" in mistakes(plugin(tmp_path, "x = 1"))[0]


def test_what_the_crd_benchmark_ran_has_its_preset_also_where_it_is_the_default():
    ran = ("kd", "fitnets", "at", "fsp", "ab", "sp", "cc", "rkd", "pkt", "crd", "vid", "nst", "ft")
    equal = {name for name in ran if methods.parse(f"{name}@crd").name == name}
    assert equal == {"kd", "rkd", "pkt", "crd"}
