"""The rows of a suite: each is a method with its parameters and its kind of teacher."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import methods
from benchmark.config.errors import KeyPath, Problem, suggest
from benchmark.config.recipe import MethodConfig
from benchmark.config.validation import canonical_json, validate
from benchmark.suite import sweeps
from methods.interface import recorded_parameters

LABEL_PATTERN = re.compile(r"[^,\x00-\x1f\x7f]{1,40}")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    A suite file contains it as ``LABEL: {parameter: value}``. The label is a specification of a
    method (``kd``, ``ab@crd``, ``at+kd``). The key ``method`` overrides it, so that one method can
    have several rows. ``teacher: random`` makes the row a control with a teacher of random weights.
    """

    label: str
    spec: methods.Spec
    config: MethodConfig
    parameters: Any
    """The method's own ``Config``."""
    control: bool

    def changes(self) -> dict[str, Any]:
        """Return the parameters that differ from the defaults, without a composition's weights."""
        values, defaults = asdict(self.parameters), dict(_leaves(self.spec.defaults))
        values.pop("weights", None)
        return {name: value for name, value in _leaves(values) if defaults[name] != value}

    def departures(self) -> Iterator[str]:
        """Yield what a label does not say: `at beta = 250`, `at+kd = 1 ce + 1 at + 1 kd`.

        A row with a label of its own has one entry: `cold = kd with temperature = 1`. A row of a
        sweep, as `kd temperature=1`, says everything itself.
        """
        changes = [f"{name} = {format_value(value)}" for name, value in self.changes().items()]
        weights = asdict(self.parameters).get("weights")  # only a composition has this parameter
        terms = [f"{format_value(value)} {name}" for name, value in (weights or {}).items()]
        mixture = [" + ".join(terms)] if terms else []
        if self.control or self.label not in (self.spec.text, self._described()):
            control = " taught by random weights" * self.control
            details = f" with {', '.join(mixture + changes)}" if mixture + changes else ""
            yield f"{self.label} = {self.spec.text}{control}{details}"
        elif self.label == self.spec.text:
            yield from (f"{self.label} = {words}" for words in mixture)
            yield from (f"{self.label} {words}" for words in changes)

    def _described(self) -> str:
        """Return the label that a sweep over all changed parameters gives to this row."""
        words = (f"{name}={sweeps.format_value(value)}" for name, value in self.changes().items())
        return " ".join([self.spec.text, *words])


def parse_row(label: str, given: Mapping[str, Any] | None) -> tuple[Row | None, list[Problem]]:
    """Resolve a row, defaults included. Returns (row, []) or (None, problems)."""
    at: KeyPath = ("methods", label)
    parameters = dict(given or {})
    text, teacher = parameters.pop("method", None), parameters.pop("teacher", None)
    text = sweeps.method_of(label) if text is None else text
    problems: list[Problem] = []
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
    values = merge_nested(spec.defaults, parameters)
    config, config_problems = validate(spec.kind.Config, values, at=at)
    problems += [_explain_missing_weights(problem, spec) for problem in config_problems]
    if config is None or problems:
        return None, problems
    # Through JSON, so that a tuple and a list of equal values give the same run id.
    plain = json.loads(canonical_json(recorded_parameters(config)))
    resolved = MethodConfig(name=spec.name, version=spec.kind.version, config=plain)
    return Row(label, spec, resolved, config, teacher == "random"), []


def row_problems(block: object) -> Iterator[Problem]:
    """Yield all mistakes in a suite's ``methods``, which need not have the right type."""
    block = block if isinstance(block, dict) else {}
    valid = {k: row for k, row in block.items() if row is None or isinstance(row, dict)}
    yield from sweeps.sweep_problems(valid)
    for label, given in valid.items():
        if not LABEL_PATTERN.fullmatch(label):
            message = "a row's name has up to 40 characters and no comma or control character"
            yield Problem(("methods", label), message)
        # All rows of a sweep have the mistakes of its other parameters: report each once.
        problems = (p for _, row in sweeps.rows_of(label, given) for p in parse_row(label, row)[1])
        yield from dict.fromkeys(problems)


def parse_rows(block: Mapping[str, Mapping[str, Any] | None]) -> list[Row]:
    """Return all rows of a suite's ``methods``, in which ``row_problems`` found no mistake."""
    rows = [parse_row(label, given)[0] for label, given in block.items()]
    return [row for row in rows if row is not None]


def default_method_config(name: str) -> MethodConfig:
    """Return a method with its default parameters."""
    [row] = parse_rows({name: None})
    return row.config


def merge_nested(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults with values replaced; mappings within both are merged in turn."""
    merged = dict(defaults)
    for key, value in values.items():
        default = merged.get(key)
        both = isinstance(default, dict) and isinstance(value, dict)
        merged[key] = merge_nested(default, value) if both else value  # type: ignore[arg-type]
    return merged


def format_value(value: Any) -> str:  # noqa: ANN401
    """Return a parameter's value as a suite file would contain it."""
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _explain_missing_weights(problem: Problem, spec: methods.Spec) -> Problem:
    """Add an example to the message that a composition's weights, which have no default, miss."""
    if problem.message != "missing" or problem.where[2:3] != ("weights",):
        return problem
    weights = ", ".join(f"{name}: 1" for name in ("ce", *spec.name.replace("+", " ").split()))
    example = re.sub(r"@\w+", "", weights)
    return problem._replace(
        message=f"missing: give every part a weight, as in weights: {{{example}}}"
    )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
