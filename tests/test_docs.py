"""What the documentation says can be followed: its links, its commands, its example."""

import ast
import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

import methods
from benchmark import cli
from benchmark.machine import Machine
from benchmark.planned import Planned, find
from tests import training

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted({p for where in ("*", "docs/**/*", "results/*") for p in ROOT.glob(f"{where}.md")})
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`\n]+`")


def code(page: Path) -> list[str]:
    """What stands in code blocks, a command that goes on in the next line joined, and in spans."""
    text = page.read_text().replace("\\\n", " ")
    return [*FENCED.findall(text), *INLINE.findall(FENCED.sub("", text))]


def commands(page: Path) -> list[str]:
    found = (re.findall(r"python run_all\.py[^`\n#&|;>]*", piece) for piece in code(page))
    return [command.strip() for several in found for command in several]


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


@pytest.mark.parametrize("command", sorted({c for page in PAGES for c in commands(page)}))
def test_every_command_can_be_given_as_it_stands(command: str, tmp_path: Path):
    words = shlex.split(command)[2:]
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            cli.parse(words)
        return
    options = cli.parse(words)
    machine = getattr(options, "machine", "local")
    if not is_placeholder(machine):
        assert Machine.read(ROOT / find(machine, ROOT / "configs" / "machines"))
    if not is_placeholder(options.suite):
        path = ROOT / find(options.suite, ROOT / "configs")
        suite = Planned.open(path, options.changes, tmp_path, needs_code=True)
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


def test_the_guides_example_of_a_method_is_found_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    [(name, source)] = re.findall(r"```python\n# methods/(\w+)\.py\n(.*?)```", guide, re.DOTALL)
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    methods._registry.cache_clear()
    importlib.invalidate_caches()
    try:
        recipe = training.RECIPE.model_copy(update={"epochs": 1})
        learner = training.build(name, recipe=recipe)
        training.run(learner)
    finally:
        methods._registry.cache_clear()
        sys.modules.pop(f"methods.{name}", None)
    assert learner.failure is None
    assert [row["phase"] for row in learner.history] == [phase.name for phase in learner.phases]
