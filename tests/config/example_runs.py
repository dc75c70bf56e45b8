"""Runs that many tests use: a teacher, its students, a probe. Nothing trains them."""

from benchmark.config.protocols import PROBE_PROTOCOLS
from benchmark.config.recipe import DatasetConfig, MethodConfig, Recipe
from benchmark.config.runs import ProbeRun, TrainRun

DATA = DatasetConfig(name="digits", version=1, limit=None, padding=2, flip=False)
RECIPE = Recipe(epochs=240, batch_size=64, lr=0.05)
SCRATCH = MethodConfig(name="scratch", version=1, config={})
TEACHER = TrainRun(
    dataset=DATA, student="resnet20", method=SCRATCH, teacher=None, recipe=RECIPE, seed=0
)
KD = MethodConfig(name="kd", version=1, config={"alpha": 0.9, "temperature": 4.0})
RUN = TrainRun(dataset=DATA, student="resnet8", method=KD, teacher=TEACHER, recipe=RECIPE, seed=1)
PROBE = ProbeRun(
    dataset=DATA, protocol="hsakd", backbone=RUN, recipe=PROBE_PROTOCOLS["hsakd"].recipe, seed=0
)


def student(method: str, seed: int) -> TrainRun:
    if method == "scratch":
        return RUN.model_copy(update={"method": SCRATCH, "teacher": None, "seed": seed})
    return RUN.model_copy(update={"method": KD.model_copy(update={"name": method}), "seed": seed})


def by_id(*runs: TrainRun) -> dict[str, TrainRun]:
    return {run.id: run for run in runs}
