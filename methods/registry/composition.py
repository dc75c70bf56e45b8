"""Compositions: several methods trained together, such as `at+kd`.

Adding KD to a feature method changes accuracy by whole points, and papers differ in whether they
do. So a composition is part of the row's name, and its weights have no defaults.
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
    """The sum of the parts' losses, with the cross-entropy ``ce`` counted once.

    Each part keeps its own parameters; ``weights`` multiplies all of its terms but ``ce``. The last
    phases of all parts become one phase. Earlier phases may come from one part, or from several
    parts whose earlier phases have equal lengths and learning rates.
    """

    paper = None
    parts: ClassVar[tuple[type[Method], ...]]
    built: nn.ModuleDict

    @classmethod
    def mismatch(cls, config: Any, student: Shapes, teacher: Shapes) -> str | None:  # noqa: ANN401
        """Return the reason of the first part that does not apply, with the part's name."""
        for part in cls.parts:
            if reason := part.mismatch(getattr(config, part.name), student, teacher):
                return f"{part.name}: {reason}"
        return None

    @classmethod
    def build(cls, config: Any, student: Shapes, teacher: Shapes, given: Given) -> Self:  # noqa: ANN401
        """Build every part, each with its fields of ``given``."""
        composition = cls(config, student, teacher)
        composition.built = nn.ModuleDict(
            {
                part.name: part.build(getattr(config, part.name), student, teacher, given)
                for part in cls.parts
            }
        )
        return composition

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Merge the parts' phases: their last phases, and their earlier ones if several have any.

        Raises ValueError if the earlier phases of several parts differ in length or learning rate.
        """
        plans: dict[str, Sequence[Phase]] = {
            name: part.phases(budget)
            for name, part in self.built.items()
            if isinstance(part, Method)
        }
        earlier = {name: plan[:-1] for name, plan in plans.items() if len(plan) > 1}
        if earlier:
            self._require_equal(earlier)
        before = [
            self._merge(dict(zip(earlier, phases, strict=True)))
            for phases in zip_longest(*earlier.values())
        ]
        last = self._merge({name: plan[-1] for name, plan in plans.items()}, task=True)
        # A part with earlier phases has fewer epochs left for its last one; they limit all parts.
        epochs = min(plan[-1].epochs for plan in plans.values())
        return [*before, replace(last, epochs=epochs, trains=True)]

    def _require_equal(self, earlier: dict[str, Sequence[Phase]]) -> None:
        """Raise ValueError unless the parts' earlier phases have the same length, rate and head."""
        shapes = {
            name: [(phase.epochs, phase.lr, phase.keeps_head) for phase in plan]
            for name, plan in earlier.items()
        }
        first, *others = shapes
        for other in others:
            if shapes[other] != shapes[first]:
                plans = "; ".join(
                    f"{name} has {_describe_phases(earlier[name])}" for name in (first, other)
                )
                raise ValueError(f"{self.name}: the parts' phases do not agree: {plans}")

    def _merge(self, phases: dict[str, Phase], task: bool = False) -> Phase:
        """Return one phase with the losses of all; with ``task``, it has a ``ce`` of its own."""

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
            keeps_head=first.keeps_head and not task,
        )


@lru_cache(maxsize=256)
def compose(name: str, parts: tuple[type[Method], ...]) -> type[Composition]:
    """Return the class of a composition. Raises ValueError for parts that cannot be composed."""
    names = [part.name for part in parts]
    for part in parts:
        if not part.needs_teacher:
            raise ValueError(f"{name}: {part.name} reads no teacher, so it cannot be composed")
        if part.deployed is not Method.deployed:
            raise ValueError(
                f"{name}: {part.name} deploys more than the student, so it cannot be composed"
            )
        if names.count(part.name) > 1:
            raise ValueError(f"{name}: {part.name} occurs twice")
    return type(
        "Composition",
        (Composition,),
        {
            "__doc__": Composition.__doc__,
            "name": name,
            "version": (VERSION, *(part.version for part in parts)),
            "parts": parts,
            "Config": _config_class(parts),
        },
    )


def _config_class(parts: Sequence[type[Method]]) -> type[Any]:
    """Return a dataclass with every part's Config, and the weights, which have no default."""
    weights = make_dataclass(
        "Weights",
        [("ce", float), *((part.name, float) for part in parts)],
        frozen=True,
        namespace={"__post_init__": _check_weights},
    )
    own = [(part.name, part.Config) for part in parts]
    return make_dataclass("Config", [("weights", weights), *own], frozen=True)


def _check_weights(weights: Any) -> None:  # noqa: ANN401
    for field in fields(weights):
        value = getattr(weights, field.name)
        if not (isfinite(value) and (value > 0 or (field.name == "ce" and value == 0))):
            raise ValueError(f"the weight of {field.name} must be positive, not {value}")


def _describe_phases(plan: Sequence[Phase]) -> str:
    return " and ".join(
        f"'{phase.name}' of {phase.epochs} epochs at a {phase.lr} rate"
        f"{', which keeps the head' if phase.keeps_head else ''}"
        for phase in plan
    )
