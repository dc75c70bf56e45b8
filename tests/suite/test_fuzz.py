"""Two thousand mutated suites and command lines: each is accepted, or refused with one message.

The mutants are the same in every run; those of another seed: `FUZZ_SEED=7 pytest tests/suite`.
"""

from __future__ import annotations

import copy
import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.cli.main import main
from benchmark.config.document import load_document
from benchmark.config.errors import UserError
from benchmark.estimate import estimates
from benchmark.suite import suite as suites
from benchmark.suite.suite import make_manifest, suite_name

SEED = os.environ.get("FUZZ_SEED", "0")
LONGEST = 120  # seconds for one mutant: only what hangs takes as long
SUITE: dict[str, Any] = yaml.safe_load("""
title: a test
dataset: {name: digits, padding: 2, limit: 100, validation: 10, size: 16, crop: padded, flip: true}
pairs: [resnet14 -> resnet8, resnet8 -> resnet14]
methods:
  scratch:
  kd: {temperature: 2, alpha: 0.5}
  fitnets: {view: crd}
  vid:
  a: {method: dkd, teacher: random, beta: 2}
  at+kd: {weights: {ce: 1, at: 1, kd: 1}, kd: {alpha: 1}}
seeds: [0, 1]
recipe: {epochs: 4, batch_size: 32, lr: 0.1, momentum: 0.9, lr_drops: [0.5, 0.75], lr_factor: 0.1}
recipes: {resnet8: {lr: 0.01}}
teacher: {seed: 3, recipe: {epochs: 5}, imported: {}}
numerics: strict
probes: {p: {protocol: strict, dataset: digits, limit: 50, size: 16, epochs: 3}}
table: {rows: {kd: KD}, pairs: [resnet14 -> resnet8], datasets: {digits: D}}
""")
NAMES = [
    "",
    " ",
    "x",
    "kd",
    "digits",
    "resnet8",
    "resnet8->resnet8",
    "é",
    "日本",
    "a" * 5000,
    "../x",
]
NAMES += ["[/b]", "%j", "=1", "\x00", "\u202e", "\ud800", "1e3", "nan", "0", "imagefolder/x@32"]
NAMES += ["imagefolder//", "imagefolder/x@0", "timm/", "torchvision/", "at+", "+", "kd@", "@crd"]
NAMES += ["kd+kd", "simkd+kd", "untrained", "random", "resnet8 -> ", "-> x", "<<", "method", "lr"]
NUMBERS = [0, 1, -1, 2, 10**9, 10**24, 10**400, -0.0, 0.5, 3.7, 1e300, 1e-300]
NUMBERS += [float("nan"), float("inf"), -float("inf")]
VALUES: list[Any] = [
    *NAMES,
    *NUMBERS,
    None,
    True,
    False,
    [],
    [0],
    [[]],
    {},
    {"a": 1},
    [1, 2],
    ["kd", "kd"],
]
COMMANDS = [
    ["plan", "SUITE"],
    ["plan", "SUITE", "--only", "method=kd,seed=0"],
    ["plan", "SUITE", "--machine", "local", "--no-timing"],
    ["status", "SUITE"],
    ["show", "digits-resnet8-kd-s0-0123456789"],
    ["logs", "digits"],
    ["cancel", "SUITE"],
    ["methods", "kd"],
    ["methods", "--pair", "resnet20:resnet8"],
    ["models", "--shapes", "resnet8", "--dataset", "digits"],
    ["data", "status", "digits"],
    ["teachers", "import", "resnet8", "/nowhere/file.pth", "--dataset", "digits"],
]
FLAGS = [f"--set={key}={value}" for key in ("recipe.lr", "recipe.epochs", "seeds", "title", "a.b.c")
         for value in (".nan", "1e24", "[0, 0]", "[/b]", "", "\x00", "{a: 1}")]  # fmt: skip
FLAGS += ["--set=recipe", "--set==", "--set=pairs.9=x", "--set=methods.kd=kd", "--set=methods={}"]
FLAGS += ["--only=", "--only=method=", "--only=seed=x", "--only=,,,", "--results=/dev/null"]
FLAGS += ["--data-root=/dev/null", "--machine=nope", "--machine=/dev/null", "--plugin=nope.py"]
FLAGS += ["--plugin=/tmp", "--published=nan", "--dataset=nope", "--pair=a", "--pair=:", "--shapes="]
FLAGS += ["--versio", "-x", "--", "-", "", "\udc80", "*", "~", "/dev/full", "a" * 300]


@pytest.fixture(autouse=True)
def _in_one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plan in this process, which costs seconds less; and end what hangs."""
    for module in (suites, estimates):
        monkeypatch.setattr(module, "run_in_child_process", lambda f, *args, **kw: f(*args, **kw))
    yield
    signal.alarm(0)


def paths_of(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value, the whole first."""
    yield path
    inner = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in inner:
        yield from paths_of(value, (*path, key))


def value_at(data: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


def mutated(rng: random.Random) -> dict[str, Any]:
    """Return the suite with one to three values replaced, removed, added or copied."""
    suite = copy.deepcopy(SUITE)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        paths = [path for path in paths_of(suite) if path]
        path = rng.choice(paths)
        parent, last = value_at(suite, path[:-1]), path[-1]
        action = rng.choice(["replace", "replace", "replace", "remove", "add", "copy"])
        if action == "replace":
            parent[last] = copy.deepcopy(rng.choice(VALUES))
        elif action == "remove":
            del parent[last]
        elif action == "copy":
            parent[last] = copy.deepcopy(value_at(suite, rng.choice(paths)))
        elif isinstance(parent, dict):
            parent[rng.choice(NAMES)] = copy.deepcopy(rng.choice(VALUES))
        else:
            parent.append(copy.deepcopy(rng.choice(VALUES)))
    return suite


def broken_text(rng: random.Random) -> str:
    """Return the suite's text with pieces cut out, repeated or put in."""
    text = yaml.safe_dump(SUITE, sort_keys=False)
    bits = ["<<: *a\n", "&a ", "*a", "!!int ", "!!python/object ", "{", "]", ": ", "- ", "\t", "'"]
    bits += ["|\n", "---\n", "%YAML 1.1\n", "\x07", "\u2028", "? a\n", "!!binary |\n", "\ufeff"]
    for _ in range(rng.choice([1, 1, 2, 4])):
        i, j = rng.randrange(len(text)), rng.randrange(len(text))
        change = rng.choice([rng.choice(bits), text[j : j + rng.randrange(40)], ""])
        text = text[:i] + change + text[i + (0 if change else rng.randrange(1, 20)) :]
    return text


def verdict(path: Path, data_root: Path) -> str | None:
    """Plan a file. Return the message if it is refused."""
    signal.alarm(LONGEST)
    try:
        document = load_document(path).with_overrides([])
        manifest = make_manifest(document, suite_name(path, []), "code", [], data_root)
        json.dumps(manifest, allow_nan=False)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("part", range(4))
def test_a_mutated_suite_is_planned_or_refused_with_one_message(tmp_path: Path, part: int):
    path = tmp_path / "mutant.yaml"
    verdicts = []
    for number in range(400):
        rng = random.Random(f"{SEED} {part} {number}")
        if number % 4:
            text = yaml.safe_dump(mutated(rng), allow_unicode=True, sort_keys=False)
        else:
            text = broken_text(rng)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        verdicts.append(verdict(path, tmp_path / "data"))
        assert verdicts[-1] != "", text
    assert None in verdicts
    assert any(verdicts)


@pytest.mark.parametrize("part", range(2))
def test_a_mutated_command_line_is_done_or_refused_with_one_message(
    tmp_path: Path, part: int, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "suite.yaml"
    small = {**SUITE, "methods": {"scratch": None, "kd": None}, "probes": {}, "table": {}}
    path.write_text(yaml.safe_dump(small, sort_keys=False))
    codes = set()
    for number in range(200):
        rng = random.Random(f"{SEED} {part} {number}")
        words = [str(path) if word == "SUITE" else word for word in rng.choice(COMMANDS)]
        for _ in range(rng.choice([1, 1, 2])):
            place = rng.randrange(1, len(words) + 1)
            words[place : place + rng.choice([0, 0, 1])] = [rng.choice(FLAGS)]
        if words[0] in ("plan", "status", "show", "logs", "cancel"):
            words += ["--results", str(tmp_path / "results")]
        signal.alarm(LONGEST)
        try:
            code = main(words)
        except SystemExit as error:  # argparse
            code = error.code if isinstance(error.code, int) else 1
        codes.add(code)
        told = capsys.readouterr()
        assert code in (0, 1, 2), words
        assert "Traceback" not in told.out + told.err, words
        assert code != 2 or told.err.strip(), words
    assert codes >= {0, 2}
