"""What the documentation says can be followed: its links, its commands, its example."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

import methods
from benchmark import models
from benchmark.cli import main, speed
from benchmark.cli import models as zoo
from benchmark.cli.methods import parse_method, phase_facts, print_methods
from benchmark.config.document import load_document
from benchmark.data import SOURCES
from benchmark.launch.machine import Machine
from benchmark.suite import suite as planned
from benchmark.suite.suite import Suite, suite_path
from tests.cli.command import SUITE, call, records, suite
from tests.methods.plugin import clean
from tests.whole.pages import FENCED, INLINE, PAGES, ROOT, code, commands

__all__ = ["clean"]  # the fixture


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    lines = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", line.strip().lower()).replace(" ", "-") for line in lines]
    return {f"{s}-{n}" if (n := slugs[:i].count(s)) else s for i, s in enumerate(slugs)}


def is_placeholder(word: str) -> bool:
    """SUITE, NAME and the like stand for what a reader puts there."""
    return word.isupper()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    prose = INLINE.sub("", FENCED.sub("", page.read_text()))
    patterns = (r"\]\(([^)\s]+)", r"(?:src|href)=\"([^\"]+)\"", r"^\[[^\]]+\]: *(\S+)")
    targets = [t for p in patterns for t in re.findall(p, prose, re.MULTILINE)]
    for target in targets:
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert path.exists(), f"{target} is not there"
        if path.suffix == ".md" and anchor:
            assert anchor in anchors(path), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_reference_to_code_names_code_that_there_is(page: Path):
    for file, name in re.findall(r"`([\w/]+\.py):([\w.]+)`", page.read_text()):
        scope: list[ast.stmt] = ast.parse((ROOT / file).read_text()).body
        for part in name.split("."):
            kinds = (ast.ClassDef, ast.FunctionDef)
            named = [n for n in scope if isinstance(n, kinds) and n.name == part]
            assert named, f"{file} has no {name}"
            scope = named[0].body


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder for all commands: a suite that several speak of is planned once."""
    return tmp_path_factory.mktemp("plans")


@pytest.mark.parametrize("command", sorted({c for page in PAGES for c in commands(page)}))
def test_every_command_of_the_docs_runs_as_written(
    command: str, tmp_path: Path, plans: Path, clean: None, monkeypatch: pytest.MonkeyPatch
):
    # Here torch is loaded already, so that planning needs no process of its own.
    monkeypatch.setattr(
        planned, "run_in_child_process", lambda function, *arguments: function(*arguments)
    )
    words = shlex.split(command)[2:]
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            main.parse_command_line(words)
        return
    options = main.parse_command_line(words)
    if options.verb == "models":
        zoo.print_models(
            options.names, options.shapes, options.dataset, tmp_path, Console(quiet=True)
        )
        return
    if options.verb == "reference":
        return  # tests/cli/test_reference.py compares what it prints
    if options.verb == "data":
        named = {name for name in options.names if not is_placeholder(name.rpartition("/")[2])}
        assert named <= SOURCES.keys()
        return
    if options.verb in ("logs", "show"):
        assert is_placeholder(options.run)
        return
    if options.verb == "teachers":
        assert is_placeholder(str(options.file)) or options.file.exists()
        assert is_placeholder(options.network) or options.network in models.NETWORKS
        assert options.dataset in SOURCES
        return
    if options.verb == "speed" and options.suite is None:
        assert speed.read_request(options).pairs
        return
    plugins = [example(tmp_path) for _ in options.plugins]
    if options.verb == "methods":
        print_methods(
            [name for name in options.names if not is_placeholder(name)],
            options.pair,
            options.dataset,
            tmp_path,
            plugins,
            Console(quiet=True),
        )
        return
    machine = getattr(options, "machine", None) or "local"
    if not is_placeholder(machine):
        assert Machine.read(ROOT / suite_path(machine, ROOT / "configs" / "machines"))
    if not is_placeholder(options.suite):
        path = ROOT / suite_path(options.suite, ROOT / "configs")
        suite = Suite.open(path, options.changes, plans, True, plugins, data=tmp_path)
        assert suite.select(getattr(options, "only", ""))


def test_the_readme_sets_up_in_the_two_lines_that_are_promised():
    blocks = "\n".join(code(ROOT / "README.md"))
    for line in ("pip install -e . && python run_all.py", "pip install -e '.[dev]' && pytest"):
        assert re.search(f"^ *{re.escape(line)}( *#.*)?$", blocks, re.MULTILINE)


def test_the_extras_that_are_named_are_those_that_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = "\n".join(piece for page in PAGES for piece in code(page))
    named = {word for extras in re.findall(r"'\.\[([^\]]*)\]'", text) for word in extras.split(",")}
    assert named == project["optional-dependencies"].keys()


def example(tmp_path: Path) -> Path:
    """The guide's method, as its reader would save it."""
    guide = (ROOT / "docs" / "adding-a-method.md").read_text()
    [(name, source)] = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", guide, re.DOTALL)
    path = tmp_path / str(name)
    path.write_text(source)
    return path


def test_the_guides_method_is_short_and_trains_as_written(tmp_path: Path):
    file = example(tmp_path)
    assert len(file.read_text().splitlines()) < 60
    control = "  untaught: {method: my_method, teacher: random}"
    text = SUITE.replace("  fitnets:", f"  my_method: {{weight: 2}}\n{control}")
    small = str(suite(tmp_path, text))
    assert call(tmp_path, "run", small, "--plugin", str(file)).returncode == 0
    made = [r for r in records(tmp_path).values() if r["config"]["method"]["name"] == "my_method"]
    record, untaught = sorted(made, key=lambda r: -r["config"]["method"]["config"]["weight"])
    assert record["config"]["method"]["config"] == {"weight": 2.0}
    assert untaught["teacher"]["id"].startswith("digits-resnet14-untrained-")
    assert untaught["teacher"]["sha256"] != record["teacher"]["sha256"]
    assert set(record["history"][-1]["losses"]) == {"ce", "my_method"}
    assert record["cost"]["connector_parameters"] == 64 * 64 + 64
    assert record["cost"]["deployed_parameters"] == record["cost"]["parameters"]
    # Results are read without it.
    assert "my_method" in call(tmp_path, "status", small).stdout


def test_the_readmes_example_is_the_guides():
    [snippet] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    guide = (ROOT / "docs" / "adding-a-method.md").read_text().splitlines()
    assert not [line for line in snippet.splitlines() if line not in guide]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_a_card_with_all_that_a_reader_must_know(name: str):
    text = (ROOT / "docs" / "methods.md").read_text()
    cards = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert name in cards
    assert f"`methods/{name}.py:" in cards[name]
    if methods.get(name).paper is None:
        return
    for heading in ("Reads", "Phases", "Defaults", "Deviations"):
        assert f"**{heading}" in cards[name], heading
    compared = r"(compared|agrees?|equal to|the same as) .*[0-9a-f]{7}"  # a commit of what
    assert re.search(compared, " ".join(cards[name].split()), re.IGNORECASE)
    for preset in methods.get(name).presets:
        assert re.search(rf"[`@]{preset}`", cards[name]), preset


def test_the_table_of_methods_says_what_the_code_does():
    text = (ROOT / "docs" / "methods.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) ?\|$", text, re.MULTILINE)
    assert {row[0] for row in rows} == set(methods.names())
    for name, published, phases, reads, presets in rows:
        kind, facts = methods.get(name), phase_facts(parse_method(name))
        assert published == (f"{kind.paper.venue} {kind.paper.year}" if kind.paper else "")
        assert phases == ", ".join(fact.phase.name for fact in facts)
        read = dict.fromkeys(word for fact in facts for word in fact.reads)
        assert reads == (", ".join(read) or "nothing")
        assert presets == ", ".join(f"`@{preset}`" for preset in kind.presets)


def test_the_page_of_every_method_has_the_suites_rows_and_every_method_is_in_it():
    suite_file = load_document(ROOT / "configs" / "quickstart_all.yaml").data
    page = (ROOT / "docs" / "every-method.md").read_text()
    labels = [t.replace("\\", "") for t in re.findall(r"^\| ([\w@+\\ ]+?) +\|", page, re.MULTILINE)]
    assert labels == ["method", *suite_file["methods"]]
    trained = {
        methods.parse((given or {}).get("method", label)).name.partition("@")[0]
        for label, given in suite_file["methods"].items()
    }
    assert set(methods.names()) - {"untrained"} <= trained
