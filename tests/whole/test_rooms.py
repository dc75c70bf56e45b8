"""Which room may import which. An import in a function or under TYPE_CHECKING counts too."""

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = ["config", "processes", "store", "models", "data", "report", "evaluation", "training"]
ORDER += ["suite", "job", "launch", "estimate", "speed", "cli"]
"""The folders of `benchmark/`: each may import those before it, and itself."""
JOB_FILE = {"benchmark.job", "benchmark.job.file"}
"""All that `launch` may know of `job`: a job is started by a command line."""
NEVER_TORCH = ["config", "processes", "store", "report", "suite.manifest", "job.file"]
NEVER_TORCH += ["launch.machine", "launch.schedule", "launch.slurm_queue", "cli.progress"]
"""These never load torch."""
TORCH_LATE = [*NEVER_TORCH, "launch", "suite.suite"]
TORCH_LATE += ["cli.main", "cli.options", "cli.inputs", "cli.suites", "cli.reports", "cli.runs"]
"""These do not load torch when they are imported; a function of theirs may."""
WITH_TORCH_AFTER_ALL = {"benchmark.processes.distributed"}
JUNK_DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common", "base"}


def modules_of(package: str) -> dict[str, Path]:
    """Return the file of every module of a package, by the module's dotted name."""
    paths = {p.relative_to(ROOT).with_suffix(""): p for p in (ROOT / package).rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): p for name, p in paths.items()}


MODULES = modules_of("benchmark") | modules_of("methods")
COMMAND = "benchmark.__main__"
"""`python -m benchmark`: Python wants this file outside the rooms."""
BENCHMARK = [name for name in MODULES if name.startswith("benchmark.") and name != COMMAND]


@cache
def imports(module: str, at_import: bool = False) -> frozenset[str]:
    """Return what a module imports, by full names: `from a import b` is a.b if that is a module.

    ``at_import``: only what is loaded together with it, not what a function or a type checker asks.
    """
    tree = ast.parse(MODULES[module].read_text())
    found: set[str] = set()
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: relative imports hide where a name comes from"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in full}
    return frozenset(found)


def loaded_with(module: str, at_import: bool) -> set[str]:
    """Return all modules that come with one, sooner or later; packages above them too."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            parent = name.rpartition(".")[0]
            todo += [
                *filter(None, [parent]),
                *(imports(name, at_import) if name in MODULES else ()),
            ]
    return seen


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_every_module_is_in_a_room():
    folders = {p.name for p in (ROOT / "benchmark").iterdir() if p.is_dir()} - {"__pycache__"}
    assert folders == set(ORDER)
    files = {p.name for p in (ROOT / "benchmark").glob("*.py")}
    assert files == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("module", BENCHMARK)
def test_a_room_imports_rooms_before_it_and_itself(module: str):
    place = ORDER.index(room_of(module))
    used = {name for name in imports(module) if name in BENCHMARK}
    assert not {name for name in used if ORDER.index(room_of(name)) > place}


def test_imports_never_lead_in_a_circle():
    graph = {module: imports(module) & MODULES.keys() for module in MODULES}
    assert [*TopologicalSorter(graph).static_order()]


@pytest.mark.parametrize("module", modules_of("methods"))
def test_methods_import_torch_and_each_other_alone(module: str):
    allowed = {"torch", "methods"} | sys.stdlib_module_names
    assert not {name for name in imports(module) if name.split(".")[0] not in allowed}


def test_a_job_and_the_command_line_are_started_never_imported():
    started = {"benchmark.job.__main__", "benchmark.cli.main"}
    assert {module for module in MODULES if imports(module) & started} == {COMMAND}
    launcher = [module for module in BENCHMARK if room_of(module) == "launch"]
    of_jobs = {name for module in launcher for name in imports(module) if ".job" in name}
    assert {name for name in of_jobs if room_of(name) == "job"} <= JOB_FILE


@pytest.mark.parametrize(
    ("name", "at_import"),
    [*((name, False) for name in NEVER_TORCH), *((name, True) for name in TORCH_LATE)],
)
def test_what_must_work_without_torch_does_not_load_it(name: str, at_import: bool):
    start = f"benchmark.{name}"
    inside = [m for m in BENCHMARK if m == start or m.startswith(f"{start}.")]
    assert inside
    roots = {
        loaded.split(".")[0]
        for module in inside
        if module not in WITH_TORCH_AFTER_ALL
        for loaded in loaded_with(module, at_import)
    }
    assert not roots & {"torch", "torchvision", "methods"}


def test_no_module_is_a_junk_drawer():
    files = [
        p for folder in ("benchmark", "methods", "tests") for p in ROOT.glob(f"{folder}/**/*.py")
    ]
    assert not [p for p in files if JUNK_DRAWERS & {*p.relative_to(ROOT).with_suffix("").parts}]


def test_the_benchmark_never_asks_which_method_it_is():
    asks = re.compile(r"if .*method *==")
    assert not [name for name in BENCHMARK if asks.search(MODULES[name].read_text())]


def test_the_architecture_page_has_this_list_and_a_line_for_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert ", ".join(ORDER) in " ".join(page.split())
    tree = page.split("```")[1]
    assert [room for room in ORDER if f"\n  {room}/ " not in tree] == []
    assert ", ".join(ORDER) in " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
