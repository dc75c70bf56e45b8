"""The rows of a suite: each a method, the values it starts from, and who teaches it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import methods
from benchmark.config.errors import Place, Problem, suggest
from benchmark.config.recipe import MethodConfig
from benchmark.config.validation import canonical, check

LABEL = re.compile(r"[^,=\n]{1,40}")


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    In a suite it stands as ``LABEL: {parameter: value}``. The label is a specification of a method
    (``kd``, ``ab@crd``, ``at+kd``) unless ``method`` says another, so that a method can have
    several rows; ``teacher: random`` makes it a control, taught by a network of random weights.
    """

    label: str
    spec: methods.Spec
    config: MethodConfig
    parameters: Any
    """The method's own ``Config``."""
    control: bool

    def departures(self) -> Iterator[str]:
        """Yield what a label does not say: `at beta = 250`, `at+kd = 1 ce + 1 at + 1 kd`."""
        if self.control:
            yield f"{self.label} = {self.spec.text} taught by random weights"
        elif self.label != self.spec.text:
            yield f"{self.label} = {self.spec.text}"
        values, usual = asdict(self.parameters), dict(_leaves(self.spec.defaults))
        if weights := values.pop("weights", None):  # no method has a parameter of that name
            terms = " + ".join(f"{shown(value)} {name}" for name, value in weights.items())
            yield f"{self.label} = {terms}"
        for name, value in _leaves(values):
            if usual[name] != value:
                yield f"{self.label} {name} = {shown(value)}"


def read(label: str, given: Mapping[str, Any] | None) -> tuple[Entry | None, list[Problem]]:
    """Resolve a row, defaults included. Returns (entry, []) or (None, problems)."""
    at: Place = ("methods", label)
    parameters = dict(given or {})
    text, teacher = parameters.pop("method", label), parameters.pop("teacher", None)
    problems: list[Problem] = []
    if not LABEL.fullmatch(label):
        problems.append(Problem(at, "a row's name has up to 40 letters, no comma, no equals sign"))
    try:
        spec = methods.parse(str(text))
    except methods.UnknownMethod as error:
        where = (*at, "method") if "method" in (given or {}) else at
        return None, [*problems, Problem(where, suggest(error.name, error.options, error.what))]
    except methods.BadMethod:
        raise
    except ValueError as error:
        return None, [*problems, Problem(at, str(error))]
    if teacher not in (None, "random"):
        problems.append(Problem((*at, "teacher"), f"must be random or left out, got {teacher!r}"))
    elif teacher and not spec.kind.needs_teacher:
        problems.append(Problem((*at, "teacher"), f"{spec.name} has no teacher"))
    config, wrong = check(spec.kind.Config, overlaid(spec.defaults, parameters), at=at)
    problems += [_explained(problem, spec) for problem in wrong]
    if config is None or problems:
        return None, problems
    # Through JSON, so that tuples and lists are one thing in the id.
    plain = json.loads(canonical(asdict(config)))
    resolved = MethodConfig(name=spec.name, version=spec.kind.version, config=plain)
    return Entry(label, spec, resolved, config, teacher == "random"), []


def problems(block: object) -> Iterator[Problem]:
    """Find all that is wrong with a suite's ``methods``, whatever its form."""
    for label, given in (block if isinstance(block, dict) else {}).items():
        if isinstance(label, str) and (given is None or isinstance(given, dict)):
            yield from read(label, given)[1]


def entries(block: Mapping[str, Mapping[str, Any] | None]) -> list[Entry]:
    """Read all rows of a suite that has no problems."""
    found = [read(label, given)[0] for label, given in block.items()]
    return [entry for entry in found if entry is not None]


def plain(name: str) -> MethodConfig:
    """Return a method as it is by default."""
    [entry] = entries({name: None})
    return entry.config


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values over defaults, part by part where both are mappings."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, dict) and isinstance(value, dict)
        merged[key] = overlaid(under, value) if both else value  # type: ignore[arg-type]
    return merged


def shown(value: Any) -> str:  # noqa: ANN401
    """Write a parameter's value as a suite file would."""
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _explained(problem: Problem, spec: methods.Spec) -> Problem:
    """Say what a composition lacks: its weights have no default."""
    if problem.message != "missing" or problem.where[2:3] != ("weights",):
        return problem
    weights = ", ".join(f"{name}: 1" for name in ("ce", *spec.name.replace("+", " ").split()))
    example = re.sub(r"@\w+", "", weights)
    return problem._replace(
        message=f"missing: say what every part counts, as in weights: {{{example}}}"
    )


def _leaves(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
