"""What can be wrong with a method, said to its author: with file and line."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from methods.interface import Method, Paper, Phase

RESERVED = {"method", "teacher", "weights"}
"""What a suite says beside a method's parameters."""


class BadMethod(ValueError):  # noqa: N818
    """A method that cannot be used: its author's mistakes, each with file and line."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type[BadMethod], tuple[list[str]]]:
        return BadMethod, (self.mistakes,)  # from process to process


def place(what: Any) -> str:  # noqa: ANN401
    """Where a class or function stands: ``file:line``."""
    what = inspect.unwrap(getattr(what, "__func__", getattr(what, "func", what)))
    try:
        _, line = inspect.getsourcelines(what)
        return f"{inspect.getsourcefile(what)}:{line}"
    except (OSError, TypeError):  # made in an interactive session, or not of Python
        return f"{getattr(what, '__module__', '?')}.{getattr(what, '__qualname__', what)}"


def breakage(error: BaseException, file: Path) -> str:
    """Say what went wrong in an author's file and in which of its lines."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}"
    inside = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == file]
    return f"{file}:{inside[-1].lineno}: {said}" if inside else f"{file}: {said}"


def faults(method: type[Method]) -> list[str]:
    """Find what a class lacks to be a method; nothing is built or run."""
    return [f"{place(method)}: {method.__name__}: {fault}" for fault in _faults(method)]


def _faults(method: type[Method]) -> Iterator[str]:
    name = getattr(method, "name", None)
    if name is None:
        yield "`name` is missing: what a suite calls it, as in name = 'kd'"
    elif not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield f"`name` must be lower-case letters, digits and underscores, not {name!r}"
    version = getattr(method, "version", None)
    if type(version) is not int:
        yield f"`version` must be a whole number, to be raised when numbers change, not {version!r}"
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
        yield "`Config` must be a frozen dataclass, empty where there is nothing to choose"
        return
    for field in fields(config):
        if field.name in RESERVED:
            yield f"Config.{field.name}: a suite has its own use for that word"
        if field.default is MISSING and field.default_factory is MISSING:
            yield f"Config.{field.name} has no default: it would be the paper's value"
    for preset, values in method.presets.items():
        if not isinstance(values, config):
            yield f"presets[{preset!r}] must be a Config, not {values!r}"


def phase_faults(method: Method, phases: object) -> list[str]:
    """Find what is wrong with what ``phases`` returned."""
    found = list(_phase_faults(phases))
    where = f"{place(type(method).phases)}: {type(method).__name__}.phases" if found else ""
    return [f"{where} {fault}" for fault in found]


def _phase_faults(phases: object) -> Iterator[str]:
    if not isinstance(phases, list | tuple) or not phases:
        yield f"must return at least one Phase in a list, not {shown(phases)}"
        return
    if wrong := [phase for phase in phases if not isinstance(phase, Phase)]:
        yield f"must return Phases, not {shown(wrong[0])}"
        return
    names = [phase.name for phase in phases]
    yield from (f"has several phases named '{n}'" for n in sorted(set(names)) if names.count(n) > 1)
    for phase in phases:
        if type(phase.epochs) is not int or phase.epochs < 1:
            yield (
                f"gives phase '{phase.name}' {shown(phase.epochs)} epochs; take them from "
                "budget.epochs or budget.split(share)"
            )


def loss_faults(phase: Phase, losses: object) -> list[str]:
    """Find what is wrong with what a phase's loss returned, its values apart."""
    found = list(_loss_faults(phase, losses))
    where = f"{place(phase.loss)}: the loss of phase '{phase.name}'" if found else ""
    return [f"{where} {fault}" for fault in found]


def _loss_faults(phase: Phase, losses: object) -> Iterator[str]:
    if not isinstance(losses, dict) or not losses:
        yield f"must return named scalars, as in {{'kd': tensor}}, not {shown(losses)}"
        return
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.shape != ():
            yield f"must return tensors without dimensions; '{name}' is {shown(value)}"
            return
    if phase.trains and not any(value.requires_grad for value in losses.values()):
        yield "reaches no parameter: was everything detached?"


def blame(error: BaseException, method: type[Method]) -> str:
    """Say what an error was and, if it passed through the method's file, in which line."""
    if isinstance(error, BadMethod):
        return str(error)
    said = f"{type(error).__name__}: {error}"
    try:
        file = inspect.getfile(method)
    except (OSError, TypeError):
        return said
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{said} ({file}:{lines[-1]})" if lines else said


def shown(value: object) -> str:
    """Describe a value in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
