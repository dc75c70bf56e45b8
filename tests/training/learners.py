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
from benchmark.suite.rows import read
from benchmark.training import build as assemble
from benchmark.training.cohort import CLOCKED, train
from benchmark.training.learner import Learner
from methods.interface import Budget, Features, Given, Losses, Method, Phase

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
    train([learner], None, stream, test, lambda _: None)
    return cast(Network, learner.student.eval().requires_grad_(False))


def build(method: str, network: str = STUDENT, recipe: Recipe = RECIPE) -> Learner:
    """A learner of a method by its specification; a composition's weights are all 1."""
    parts = [part.partition("@")[0] for part in method.split("+")]
    weights = {"weights": dict.fromkeys(("ce", *parts), 1)} if len(parts) > 1 else None
    entry, problems = read(method, weights)
    assert entry is not None, problems
    shapes = [models.shapes(name, 10, 3, DIGITS.size) for name in (network, TEACHER)]
    student = models.build(network, 10, SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("connectors", method, SEED))
        made = entry.spec.kind.build(
            entry.parameters, shapes[0], shapes[1], given(student, entry.spec)
        )
    assemble.place(student, CPU)
    assemble.place(made, CPU)
    return Learner(method, student, made, recipe)


def given(student: Network, spec: methods.Spec) -> Given:
    labels = digits().train.first(40).labels
    shown = teacher() if spec.kind.needs_teacher else student
    return assemble.handed_over(shown, labels, RECIPE.batch_size)


def custom(name: str, phases: Sequence[Phase]) -> Learner:
    """A learner whose method lays out just these phases."""

    class Custom(Method):
        def phases(self, budget: Budget) -> Sequence[Phase]:
            return phases

    shapes = models.shapes(STUDENT, 10, 3, DIGITS.size)
    student = models.build(STUDENT, 10, SEED)
    assemble.place(student, CPU)
    return Learner(name, student, Custom(None, shapes, shapes), RECIPE)


def run(*learners: Learner) -> list[list[str]]:
    """Train to the end; return the order in which learners ended their epochs."""
    stream, test = streams()
    order: list[list[str]] = []
    train(
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
        {key: value for key, value in row.items() if key not in CLOCKED} for row in state["history"]
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
