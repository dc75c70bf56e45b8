"""Small real trainings for the tests: digits, small networks, every part the real one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

import methods
from benchmark import models
from benchmark.config import seeds
from benchmark.config.recipe import DatasetConfig, Recipe
from benchmark.data.sets.digits import DIGITS
from benchmark.data.source import Data, Images, Split
from benchmark.data.stream import Stream, TestImages
from benchmark.job import recording
from benchmark.models.network import Network
from benchmark.suite.rows import parse_row
from benchmark.training import build as assemble
from benchmark.training.cohort import TIMING_FIELDS, train_learners
from benchmark.training.learner import Learner
from methods.interface import Budget, Features, Losses, Method, Phase

CPU = torch.device("cpu")
STUDENT, TEACHER = "resnet8", "resnet14"
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05, init_epochs="extra")
DATASET = DatasetConfig(name="digits", version=1, limit=None, padding=2, flip=False)
SEED = 4


def streams(
    seed: int = SEED,
    count: int = 40,
    batch_size: int = RECIPE.batch_size,
    device: torch.device = CPU,
) -> tuple[Stream, TestImages]:
    """40 train images make two full batches and a short one."""
    data = digits()
    stream = Stream(
        data.train.first(count),
        DIGITS,
        DATASET,
        seed=seeds.derive("stream", seed),
        batch_size=batch_size,
        device=device,
    )
    return stream, TestImages(data.test.first(50), DIGITS, device, 32)


def in_memory(split: Data) -> Split[Images]:
    """Of a set that is decoded whole."""
    assert isinstance(split.train, Images)
    return split


@cache
def digits() -> Any:
    return DIGITS.load(Path())


@cache
def teacher() -> Network:
    """A teacher that has learnt something, or its features would be all alike."""
    learner = build("scratch", network=TEACHER, recipe=RECIPE.model_copy(update={"epochs": 3}))
    stream, test = streams(count=400)
    train_learners([learner], None, stream, test, lambda _: None)
    return cast(Network, learner.student.eval().requires_grad_(False))


def build(method: str, network: str = STUDENT, recipe: Recipe = RECIPE) -> Learner:
    """A learner of a method by its specification; a composition's weights are all 1."""
    parts = [part.partition("@")[0] for part in method.split("+")]
    weights = {"weights": dict.fromkeys(("ce", *parts), 1)} if len(parts) > 1 else None
    row, problems = parse_row(method, weights)
    assert row is not None, problems
    shapes = [models.feature_shapes(name, 10, 3, DIGITS.size) for name in (network, TEACHER)]
    student = models.build(network, 10, SEED)
    connected = assemble.build_method(
        row.spec.kind,
        row.parameters,
        (shapes[0], shapes[1]),
        teacher() if row.spec.kind.needs_teacher else student,
        digits().train.first(40).labels,
        batch_size=RECIPE.batch_size,
        seed=seeds.derive("connectors", method, SEED),
    )
    assemble.to_device(student, CPU)
    assemble.to_device(connected, CPU)
    return Learner(method, student, connected, recipe)


def custom(name: str, phases: Sequence[Phase]) -> Learner:
    """A learner whose method lays out just these phases."""

    class Custom(Method):
        def phases(self, budget: Budget) -> Sequence[Phase]:
            return phases

    shapes = models.feature_shapes(STUDENT, 10, 3, DIGITS.size)
    student = models.build(STUDENT, 10, SEED)
    assemble.to_device(student, CPU)
    return Learner(name, student, Custom(None, shapes, shapes), RECIPE)


def run(*learners: Learner) -> list[list[str]]:
    """Train to the end; return the order in which learners ended their epochs."""
    stream, test = streams()
    order: list[list[str]] = []
    train_learners(
        learners,
        teacher(),
        stream,
        test,
        lambda learner: order.append([learner.name, str(learner.epoch)]),
    )
    return order


def through_bytes(state: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint would bring back."""
    loaded: dict[str, Any] = torch.load(io.BytesIO(recording.serialise(state)), weights_only=True)
    return loaded


def numbers(learner: Learner) -> dict[str, Any]:
    """All of a learner that must not depend on its company: tensors and history, timing apart."""
    state = learner.state()
    history = [
        {key: value for key, value in row.items() if key not in TIMING_FIELDS}
        for row in state["history"]
    ]
    return flat({**state, "history": history})


def flat(value: Any, place: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for key, inner in value.items() for k, v in flat(inner, f"{place}/{key}").items()
        }
    if isinstance(value, list):
        return flat(dict(enumerate(value)), place)
    return {place: value}


def same(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Name the places where two learners differ in any bit."""
    places = one.keys() | other.keys()
    return sorted(
        place
        for place in places
        if place not in one or place not in other or not equal(one[place], other[place])
    )


def equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def cross_entropy(student: Features, _teacher: Features, batch: Any) -> Losses:
    return {"ce": nn.functional.cross_entropy(student.logits, batch.labels)}


ALL = [
    *methods.names(),
    *(f"{name}@{preset}" for name in methods.names() for preset in methods.get(name).presets),
    "fitnets+kd",
]
