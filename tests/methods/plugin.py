"""The source of a method outside the package, and a registry to load it into."""

import pytest

from methods import registry

METHOD = """
from dataclasses import dataclass
from methods.interface import Method, Phase
from methods.scratch import task_loss

class Mine(Method):
    '''Mine.'''

    name = {name!r}
    version = 1
    paper = None

    @dataclass(frozen=True)
    class Config:
        pass

    def phases(self, budget):
        return [Phase("task", budget.epochs, task_loss)]
"""


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch):
    """Remove what a test adds to the registry once the test is over."""
    monkeypatch.setattr(registry, "_added", {})
    registry._registry.cache_clear()
    yield
    registry._registry.cache_clear()


WORKING = METHOD.format(name="mine").replace(
    "task_loss)]",
    """self.loss)]

    def loss(self, student, teacher, batch):
        return {"mine": (student.logits - teacher.logits).square().mean()}""",
)
