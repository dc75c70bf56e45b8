"""Several methods at once, by name: `at+kd`.

Papers that add KD to a feature method and papers that do not differ by points of accuracy, so a
composition is written where every reader sees it, and what each part counts is said, not assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, make_dataclass, replace
from functools import lru_cache
from itertools import zip_longest
from math import isfinite
from typing import Any, ClassVar, Self

from torch import nn

from methods.interface import Batch, Budget, Features, Given, Losses, Method, Phase, Shapes
from methods.scratch import task_loss

VERSION = 1
"""Bump when the numbers of compositions change."""


class Composition(Method):
    """The parts' weighted losses, and the cross-entropy with the labels, counted once.

    A part's own weights and parameters hold; ``weights`` multiplies all of its terms but ``ce``.
    The parts' last phases run as one. Phases that lead up to it may come from one part, or from
    several where they agree.
    """

    paper = None
    parts: ClassVar[tuple[type[Method], ...]]
    built: nn.ModuleDict

    @classmethod
    def mismatch(cls, config: Any, student: Shapes, teacher: Shapes) -> str | None:  # noqa: ANN401
        """The first reason of any part."""
        for part in cls.parts:
            if reason := part.mismatch(getattr(config, part.name), student, teacher):
                return f"{part.name}: {reason}"
        return None

    @classmethod
    def build(cls, config: Any, student: Shapes, teacher: Shapes, given: Given) -> Self:  # noqa: ANN401
        """Build every part with what it asks for."""
        made = cls(config, student, teacher)
        made.built = nn.ModuleDict(
            {
                part.name: part.build(getattr(config, part.name), student, teacher, given)
                for part in cls.parts
            }
        )
        return made

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Lay the parts' phases beside each other, the last ones together.

        Raises ValueError where several parts have phases before their last that do not agree.
        """
        plans: dict[str, Sequence[Phase]] = {
            name: part.phases(budget)
            for name, part in self.built.items()
            if isinstance(part, Method)
        }
        earlier = {name: plan[:-1] for name, plan in plans.items() if len(plan) > 1}
        if earlier:
            self._agree(earlier)
        before = [
            self._together(dict(zip(earlier, phases, strict=True)))
            for phases in zip_longest(*earlier.values())
        ]
        last = self._together({name: plan[-1] for name, plan in plans.items()}, task=True)
        # A part that spends epochs on initialising has fewer left: all parts go by it.
        left = min(plan[-1].epochs for plan in plans.values())
        return [*before, replace(last, epochs=left, trains=True)]

    def _agree(self, earlier: dict[str, Sequence[Phase]]) -> None:
        """Raise ValueError unless all parts initialise over the same phases."""
        shapes = {
            name: [(phase.epochs, phase.lr) for phase in plan] for name, plan in earlier.items()
        }
        first, *others = shapes
        for other in others:
            if shapes[other] != shapes[first]:
                said = "; ".join(f"{name} has {_told(earlier[name])}" for name in (first, other))
                raise ValueError(f"{self.name}: the parts' phases do not agree: {said}")

    def _together(self, phases: dict[str, Phase], task: bool = False) -> Phase:
        """Make one phase of several parts' that run at the same time."""

        def loss(student: Features, teacher: Features, batch: Batch) -> Losses:
            losses: Losses = {}
            if task and self.config.weights.ce:
                losses["ce"] = self.config.weights.ce * task_loss(student, teacher, batch)["ce"]
            for name, phase in phases.items():
                weight = getattr(self.config.weights, name)
                for term, value in phase.loss(student, teacher, batch).items():
                    if term != "ce":
                        losses[term if term == name else f"{name}.{term}"] = weight * value
                    elif not task:
                        losses.setdefault("ce", self.config.weights.ce * value)
            return losses

        first = next(iter(phases.values()))
        return replace(
            first,
            name="+".join(dict.fromkeys(phase.name for phase in phases.values())),
            loss=loss,
            reads_teacher=any(phase.reads_teacher for phase in phases.values()),
            reads_student=task or any(phase.reads_student for phase in phases.values()),
        )


@lru_cache(maxsize=256)
def compose(name: str, parts: tuple[type[Method], ...]) -> type[Composition]:
    """Make the class of a composition. Raises ValueError for parts that cannot be composed."""
    names = [part.name for part in parts]
    for part in parts:
        if not part.needs_teacher:
            raise ValueError(f"{name}: {part.name} reads no teacher, so there is nothing to add")
        if part.deployed is not Method.deployed:
            raise ValueError(
                f"{name}: what {part.name} deploys is more than the student: it stands alone"
            )
        if names.count(part.name) > 1:
            raise ValueError(f"{name}: {part.name} is in it twice")
    return type(
        "Composition",
        (Composition,),
        {
            "__doc__": Composition.__doc__,
            "name": name,
            "version": (VERSION, *(part.version for part in parts)),
            "parts": parts,
            "Config": _config(parts),
        },
    )


def _config(parts: Sequence[type[Method]]) -> type[Any]:
    """A field for every part's own Config, and the weights, which have no default."""
    weights = make_dataclass(
        "Weights",
        [("ce", float), *((part.name, float) for part in parts)],
        frozen=True,
        namespace={"__post_init__": _weights_are_sensible},
    )
    own = [(part.name, part.Config) for part in parts]
    return make_dataclass("Config", [("weights", weights), *own], frozen=True)


def _weights_are_sensible(weights: Any) -> None:  # noqa: ANN401
    for field in fields(weights):
        value = getattr(weights, field.name)
        if not (isfinite(value) and (value > 0 or (field.name == "ce" and value == 0))):
            raise ValueError(f"the weight of {field.name} must be positive, not {value}")


def _told(plan: Sequence[Phase]) -> str:
    return " and ".join(
        f"'{phase.name}' of {phase.epochs} epochs at a {phase.lr} rate" for phase in plan
    )
