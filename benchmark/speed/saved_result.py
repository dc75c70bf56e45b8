"""Results as plain data in a file, and back: a call that was cut off is gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.config.errors import UserError
from benchmark.speed.agreement import Agreement
from benchmark.speed.epochs import Epochs, Key, Timed
from benchmark.speed.fsp_loss import Flow
from benchmark.speed.input import Input
from benchmark.speed.ratios import Figure, Round, Stretch
from benchmark.speed.result import Memory, PairResult, Result, goals
from benchmark.speed.roofline import Counted, Rates, floor
from benchmark.speed.trainings import Training

SCHEMA = 2
SAME = "device", "cpu", "torch", "commit", "methods", "batch", "images", "train_images"
"""Facts that all parts of a result have in common."""


def as_json(result: Result) -> dict[str, Any]:
    """Return everything, the rounds too, and what follows from it."""
    found = result.input
    means = result.pairs[0].figures if result.pairs else ()
    return {
        "schema": SCHEMA,
        "facts": dict(result.facts),
        "rates": result.rates._asdict(),
        "agreement": result.agreement and result.agreement._asdict(),
        "pairs": [pair_as_json(pair, result.rates) for pair in result.pairs],
        "trainings": [one._asdict() for one in result.trainings],
        "input": found and {**found._asdict(), "figure": found.figure._asdict()},
        "input_shares": result.shares,
        "memory": result.memory and result.memory._asdict(),
        "geometric_means": {name: result.mean(name) for name in means},
        "goals": [goal._asdict() for goal in goals(result)],
    }


def pair_as_json(pair: PairResult, rates: Rates) -> dict[str, Any]:
    """Return a pair's figures and rounds; times are [work, wall] in seconds a step."""
    flow = pair.flow and {**pair.flow._asdict(), "figure": pair.flow.figure._asdict()}
    teacher, student = pair.counted
    low = floor(*pair.counted, len(pair.plans), rates)
    return {
        "teacher": pair.teacher,
        "student": pair.student,
        "left_out": dict(pair.left_out),
        "phases": {
            label: [stretch._asdict() for stretch in plan]
            for label, plan in zip(pair.methods, pair.plans, strict=True)
        },
        "figures": {name: figure._asdict() for name, figure in pair.figures.items()},
        "fsp": flow,
        "counted": {"teacher": teacher._asdict(), "student": student._asdict()},
        "floor": low._asdict(),
        "epochs": pair.epochs and pair.epochs.as_json(),
        "rounds": [
            {
                side: {name: list(map(float, times)) for name, times in parts.items()}
                for side, parts in one._asdict().items()
            }
            for one in pair.rounds
        ],
    }


# ---------------------------------------------------------------- back


def read(path: Path, facts: Mapping[str, Any]) -> Result | None:
    """Read what a file holds, None where there is none.

    Raises ``UserError`` where that was measured elsewhere, with other code, or something else.
    """
    try:
        data = json.loads(path.read_text())
        there = dict(data["facts"])
        known = data["schema"] == SCHEMA
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--into {path}: not a result of `speed`: {error}") from error
    if not known:
        raise UserError(f"--into {path}: of another version of `speed`; name another file")
    for name in SAME:
        if there.get(name) != facts[name]:
            raise UserError(
                f"--into {path}: was measured with {name} {there.get(name)}, which is "
                f"{facts[name]} now; name another file"
            )
    return Result(
        facts=there,
        rates=Rates(**data["rates"]),
        pairs=[pair_from(pair) for pair in data["pairs"]],
        input=data["input"]
        and Input(**data["input"] | {"figure": Figure(**data["input"]["figure"])}),
        memory=data["memory"] and Memory(**data["memory"]),
        agreement=data["agreement"] and Agreement(**data["agreement"]),
        trainings=[Training(**one) for one in data["trainings"]],
    )


def pair_from(data: Mapping[str, Any]) -> PairResult:
    """Return what ``pair_as_json`` wrote."""
    flow, counted = data["fsp"], data["counted"]
    rounds = [
        {side: {k: np.array(v) for k, v in parts.items()} for side, parts in one.items()}
        for one in data["rounds"]
    ]
    return PairResult(
        teacher=data["teacher"],
        student=data["student"],
        methods=list(data["phases"]),
        left_out=data["left_out"],
        plans=[[Stretch(**stretch) for stretch in plan] for plan in data["phases"].values()],
        rounds=[Round(**one) for one in rounds],
        flow=flow and Flow(Figure(**flow["figure"]), flow["difference"]),
        counted=(Counted(**counted["teacher"]), Counted(**counted["student"])),
        epochs=data["epochs"] and epochs_from(data["epochs"]),
    )


def epochs_from(data: Mapping[str, Any]) -> Epochs:
    """Return what its ``as_json`` gave."""
    timed = {
        Key(one["loop"], one["numerics"], one["methods"]): Timed(
            one["seconds"], one["waits"], one["refused"]
        )
        for one in data["timed"]
    }
    return Epochs(data["alone"], data["methods"], timed)
