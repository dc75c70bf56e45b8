"""Who may know whom. An import in a function or under TYPE_CHECKING counts like any other."""

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    {"errors", "child", "files", "decode", "document", "config", "seeds", "claim", "store"}
    | {"environment", "process", "crew"},
    {"runs", "numerics", "transfer", "ranks", "optim", "machine", "manifest", "data", "models"}
    | {"clock"},
    {"cohort", "graphs", "evaluate", "measures", "report"},
    {"suite", "grid", "naming", "entries", "trial", "catalogue", "zoo", "assemble", "teachers"}
    | {"columns", "costs", "calibrate", "estimate", "forecast"}
    | {"plan", "planned", "launch", "cluster", "slurm", "call", "submit", "watch", "follow"}
    | {"probe", "member", "recording", "spent", "job", "speed"},
    {"cli", "options", "screen"},
]
TORCHLESS = sorted(LAYERS[0] | {"machine", "manifest", "transfer", "report", "plan", "watch"})
JUNK_DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common", "base"}


def named(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    paths = {p.relative_to(ROOT).with_suffix(""): p for p in (ROOT / package).rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): p for name, p in paths.items()}


MODULES = named("benchmark") | named("methods")
BENCHMARK = [name for name in MODULES if name.startswith("benchmark.")]


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, each by its full name: `from a import b` is a.b where that is one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: relative imports hide where a name comes from"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in full}
    return frozenset(found)


def reached(module: str) -> set[str]:
    """All that comes with an import of a module, sooner or later; parent packages too."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            parent = name.rpartition(".")[0]
            todo += [*filter(None, [parent]), *(imports(name) if name in MODULES else ())]
    return seen


def room(module: str) -> str:
    return module.split(".")[1]


def layer(module: str) -> int:
    [number] = [i for i, rooms in enumerate(LAYERS) if room(module) in rooms]
    return number


def test_every_module_has_one_layer():
    assert {room(module) for module in BENCHMARK} == set.union(*LAYERS)
    assert sum(len(rooms) for rooms in LAYERS) == len(set.union(*LAYERS))


@pytest.mark.parametrize("module", BENCHMARK)
def test_imports_lead_down_or_stay_level(module: str):
    ours = {name for name in imports(module) if name in BENCHMARK}
    assert not {name for name in ours if layer(name) > layer(module)}


def test_imports_never_lead_in_a_circle():
    graph = {module: imports(module) & MODULES.keys() for module in MODULES}
    assert [*TopologicalSorter(graph).static_order()]


@pytest.mark.parametrize("module", named("methods"))
def test_methods_know_torch_and_each_other_alone(module: str):
    allowed = {"torch", "methods"} | sys.stdlib_module_names
    assert not {name for name in imports(module) if name.split(".")[0] not in allowed}


@pytest.mark.parametrize("name", TORCHLESS)
def test_what_must_work_without_torch_never_reaches_it(name: str):
    inside = [module for module in BENCHMARK if room(module) == name]
    roots = {found.split(".")[0] for module in inside for found in reached(module)}
    assert not roots & {"torch", "torchvision", "methods"}


def test_a_job_and_the_command_line_are_started_never_imported():
    started = {"benchmark.job", "benchmark.cli"}
    assert not {module for module in MODULES if imports(module) & started}


def test_no_module_is_a_junk_drawer():
    files = [
        p for folder in ("benchmark", "methods", "tests") for p in ROOT.glob(f"{folder}/**/*.py")
    ]
    assert not [p for p in files if JUNK_DRAWERS & {*p.relative_to(ROOT).with_suffix("").parts}]


def test_the_benchmark_never_asks_which_method_it_is():
    asks = re.compile(r"if .*method *==")
    assert not [name for name in BENCHMARK if asks.search(MODULES[name].read_text())]
