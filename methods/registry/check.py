"""Checks of a method's class, phases and losses. Messages name file and line for its author."""

from __future__ import annotations

import inspect
import math
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from methods.interface import Method, Paper, Phase

RESERVED = {"method", "teacher", "weights"}
"""Keys of a suite's row beside a method's parameters: no parameter may have these names."""


class BadMethod(ValueError):  # noqa: N818
    """A method that cannot be used. ``mistakes`` are messages, each with file and line."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type[BadMethod], tuple[list[str]]]:
        return BadMethod, (self.mistakes,)  # pickling would else pass the joined text


# ---------------------------------------------------------------- where an error is


def source_line(definition: Any) -> str:  # noqa: ANN401
    """Return ``file:line`` of a class or function; its qualified name if it has no source file."""
    inner = getattr(definition, "__func__", getattr(definition, "func", definition))
    definition = inspect.unwrap(inner)
    try:
        _, line = inspect.getsourcelines(definition)
        return f"{inspect.getsourcefile(definition)}:{line}"
    except (OSError, TypeError):  # defined in an interactive session, or not in Python
        module = getattr(definition, "__module__", "?")
        return f"{module}.{getattr(definition, '__qualname__', definition)}"


def describe_import_error(error: BaseException, file: Path) -> str:
    """Return ``file:line: type: message`` of an error that importing a method's file raised."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == file]
    return f"{file}:{frames[-1].lineno}: {message}" if frames else f"{file}: {message}"


def describe_error(error: BaseException, method: type[Method]) -> str:
    """Return type and message of an error, with the last line of the method's file it came through.

    A ``BadMethod`` has its lines in its message already.
    """
    if isinstance(error, BadMethod):
        return str(error)
    message = f"{type(error).__name__}: {error}"
    try:
        file = inspect.getfile(method)
    except (OSError, TypeError):
        return message
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{message} ({file}:{lines[-1]})" if lines else message


# ---------------------------------------------------------------- the class


def find_faults(method: type[Method]) -> list[str]:
    """Return what is missing or wrong in a method's class, without building it."""
    return [f"{source_line(method)}: {method.__name__}: {fault}" for fault in _class_faults(method)]


def _class_faults(method: type[Method]) -> Iterator[str]:
    name = getattr(method, "name", None)
    if name is None:
        yield "`name` is missing: a suite uses it, as in name = 'kd'"
    elif not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield f"`name` must be lower-case letters, digits and underscores, not {name!r}"
    version = getattr(method, "version", None)
    if type(version) is not int:
        yield f"`version` must be a whole number (raise it when numbers change), not {version!r}"
    paper = getattr(method, "paper", "missing")
    if not (paper is None or isinstance(paper, Paper)):
        yield f"`paper` must be a Paper(authors, title, venue, year) or None, not {paper!r}"
    if missing := sorted(getattr(method, "__abstractmethods__", ())):
        yield f"`{'`, `'.join(missing)}` is missing: without phases there is nothing to train"
    yield from _config_faults(method)


def _config_faults(method: type[Method]) -> Iterator[str]:
    config = getattr(method, "Config", None)
    if not (
        isinstance(config, type)
        and is_dataclass(config)
        and getattr(config, "__dataclass_params__").frozen  # noqa: B009
    ):
        yield "`Config` must be a frozen dataclass; without parameters, an empty one"
        return
    for field in fields(config):
        if field.name in RESERVED:
            yield f"Config.{field.name}: the name is reserved for a key of the suite; rename it"
        if field.default is MISSING and field.default_factory is MISSING:
            yield f"Config.{field.name} has no default: give it the paper's value"
    for preset, values in method.presets.items():
        if not isinstance(values, config):
            yield f"presets[{preset!r}] must be a Config, not {values!r}"


# ---------------------------------------------------------------- phases and losses


def find_phase_faults(method: Method, phases: object) -> list[str]:
    """Return what is wrong with the value that ``method.phases`` returned."""
    faults = list(_phase_faults(phases))
    where = f"{source_line(type(method).phases)}: {type(method).__name__}.phases" if faults else ""
    return [f"{where} {fault}" for fault in faults]


def _phase_faults(phases: object) -> Iterator[str]:
    if not isinstance(phases, list | tuple) or not phases:
        yield f"must return at least one Phase in a list, not {abbreviate(phases)}"
        return
    if wrong := [phase for phase in phases if not isinstance(phase, Phase)]:
        yield f"must return Phases, not {abbreviate(wrong[0])}"
        return
    names = [phase.name for phase in phases]
    yield from (f"has several phases named '{n}'" for n in sorted(set(names)) if names.count(n) > 1)
    for phase in phases:
        if type(phase.epochs) is not int or phase.epochs < 1:
            yield (
                f"gives phase '{phase.name}' {abbreviate(phase.epochs)} epochs; take them from "
                "budget.epochs or budget.split(share)"
            )
        if not (phase.lr in ("scheduled", "constant") or is_rate(phase.lr)):
            yield (
                f"gives phase '{phase.name}' the lr {abbreviate(phase.lr)}, which must be "
                "'scheduled', 'constant' or a rate above 0"
            )


def is_rate(value: object) -> bool:
    """Return whether a value is a learning rate: a positive finite number."""
    return type(value) in (int, float) and 0 < float(value) < math.inf  # type: ignore[arg-type]


def find_loss_faults(phase: Phase, losses: object) -> list[str]:
    """Return what is wrong with the type, shape or gradient of a loss; values are not checked."""
    faults = list(_loss_faults(phase, losses))
    where = f"{source_line(phase.loss)}: the loss of phase '{phase.name}'" if faults else ""
    return [f"{where} {fault}" for fault in faults]


def _loss_faults(phase: Phase, losses: object) -> Iterator[str]:
    if not isinstance(losses, dict) or not losses:
        yield f"must return named scalars, as in {{'kd': tensor}}, not {abbreviate(losses)}"
        return
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.shape != ():
            yield f"must return tensors without dimensions; '{name}' is {abbreviate(value)}"
            return
    if phase.trains and not any(value.requires_grad for value in losses.values()):
        yield "reaches no parameter: was everything detached?"


def abbreviate(value: object) -> str:
    """Return a tensor's shape, or a value's repr cut to 60 characters."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
