"""Every method and preset, and the pairs of networks on which their contract is tested."""

from typing import Any

import pytest
from torch import Tensor

import methods
from methods.interface import Features

PAIRS = {  # (student widths, student image side), (teacher widths, teacher image side)
    "equal": (((4, 4, 6, 8), 8), ((4, 4, 6, 8), 8)),
    "wider teacher": (((4, 4, 6, 8), 8), ((8, 8, 12, 16), 8)),
    "narrower teacher": (((8, 8, 12, 16), 8), ((4, 4, 6, 8), 8)),
    "larger student maps": (((4, 4, 6, 8), 16), ((4, 4, 6, 8), 8)),
    "smaller student maps": (((4, 4, 6, 8), 8), ((4, 6, 6, 8), 16)),
    "sizes that do not divide": (((4, 4, 6, 8), 12), ((4, 4, 6, 8), 8)),
    "fewer stages": (((4, 6, 8), 8), ((4, 4, 6, 8), 8)),
}
DEFINED_EVERYWHERE = {"scratch", "kd", "fitnets"}
SPECS = [
    spec
    for name in methods.names()
    for spec in (name, *(f"{name}@{p}" for p in methods.get(name).presets))
]


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> methods.Spec:
    return methods.parse(request.param)


def config_of(spec: methods.Spec) -> Any:
    return spec.kind.Config(**spec.defaults)


def tensors(features: Features) -> list[Tensor]:
    return [
        features.stem,
        *features.stages,
        *features.preacts,
        features.embedding,
        features.logits,
        *features.crd,
        *features.crd_preacts,
    ]
