"""`run_all.py speed`: what is asked for, where it is measured, and what is there already."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmark import models
from benchmark.cli.console import DONE, make_console
from benchmark.cli.inputs import open_suite
from benchmark.config.errors import UserError
from benchmark.config.recipe import Recipe
from benchmark.data.source import Images
from benchmark.launch.machine import Paths
from benchmark.speed import tables
from benchmark.speed.both_sides import Scene
from benchmark.speed.cost import Cost, cost, sheet
from benchmark.speed.measure import SOURCE, Asked, Watch, Work, write
from benchmark.speed.memory import SIZES, entry_of, noise
from benchmark.speed.result import Result
from benchmark.speed.roofline import rates
from benchmark.speed.saved_result import read
from benchmark.store import environment
from benchmark.suite.suite import Planned
from benchmark.training.numerics import adopt

PAIRS = "wrn_40_2:wrn_16_2", "vgg13:vgg8", "resnet110:resnet20", "resnet32x4:resnet8x4"
GPU_STEPS = 20
EPOCHS = 240


def speed(options: argparse.Namespace) -> int:
    """Measure the suite against the field's usual loop and against the device's limits."""
    console = make_console()
    if options.suite is None:
        wanted = asked(options)
        result, path = measure_speed(wanted, console), wanted.into
        about, sheets = list(tables.about(result)), list(tables.sheets(result))
    else:
        check_alone(options)
        found = suite_cost(open_suite(options), options)
        about, sheets = list(tables.about_device(found.facts)), [sheet(found)]
        path = new_file(options, f"cost-{found.suite}")
        write(path, tables.markdown(about, sheets), found.as_json())
    tables.show(about, sheets, console)
    for written in (path.with_suffix(".md"), path):
        console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    return DONE


def measure_speed(asked: Asked, console: Console) -> Result:
    """Measure what is not there yet, and write each part down at once. Raises ``UserError``."""
    device = torch.device(device_of(asked.device))
    adopt("strict")
    scene, whose = scene_of(asked, device)
    labels = [entry.label for entry in asked.entries]
    facts = facts_of(device) | {"batch": asked.batch, "methods": labels}
    facts |= {"images": whose, "train_images": len(scene.images.labels), "epochs": EPOCHS}
    known, watch = read(asked.into, facts), Watch(asked.seconds, console)
    with watch.progress:
        watch.say("rates of the device")
        spent = {"seconds": 0.0, "cpu_seconds": 0.0}
        found = known or Result(facts | spent, rates(device))
        return Work(asked, scene, watch, found).done()


def scene_of(asked: Asked, device: torch.device) -> tuple[Scene, str]:
    """Lay out what all pairs have in common; say whose images they are."""
    images, whose = images_for(asked)
    recipe = Recipe(epochs=EPOCHS, batch_size=asked.batch, lr=0.05, init_epochs="extra")
    steps = GPU_STEPS if device.type == "cuda" else 1
    return Scene(SOURCE, images, recipe, device, steps), whose


def suite_cost(suite: Planned, options: argparse.Namespace) -> Cost:
    """Compute what a suite would take here. Raises ``UserError``."""
    device = device_of(options.device)
    adopt("strict")
    plugins = tuple(suite.manifest.get("plugins", ()))
    paths = Paths(options.results, options.data_root, plugins)
    return cost(suite, paths, device, options.seconds, facts_of(torch.device(device)))


# ---------------------------------------------------------------- what is asked for, and where


def asked(options: argparse.Namespace) -> Asked:
    """Read the command line. Raises ``UserError``."""
    labels = [label.strip() for label in options.methods.split(",") if label.strip()]
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"--methods {options.methods}: expected methods by name, each once")
    if not 2 <= options.batch <= SIZES[0]:
        raise UserError(f"--batch {options.batch}: expected 2 to {SIZES[0]} images")
    into = options.into or new_file(options, "speed")
    return Asked(
        [pair_of(text) for text in options.pairs or PAIRS],
        [entry_of(label) for label in labels],
        options.batch,
        options.seconds,
        options.device,
        options.data_root,
        into.with_suffix(".json"),
        table=not options.pairs,
    )


def check_alone(options: argparse.Namespace) -> None:
    """Raise UserError where a suite is asked for with what is for pairs."""
    if options.into or options.pairs:
        raise UserError("--suite goes with neither --pair nor --into: its steps are timed at once")


def new_file(options: argparse.Namespace, name: str) -> Path:
    """Name a file by this moment."""
    path: Path = options.results / "speed" / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    return path


def pair_of(text: str) -> tuple[str, str]:
    """Read TEACHER:STUDENT. Raises ``UserError``."""
    teacher, colon, student = text.partition(":")
    if not colon:
        raise UserError(f"--pair {text}: expected TEACHER:STUDENT")
    for name in (teacher, student):
        models.maker(name)
    return teacher, student


def device_of(asked: str) -> str:
    """Return where to measure. Raises ``UserError`` where there is no such device."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UserError("--device cuda: torch sees no GPU here")
    return ("cuda" if there else "cpu") if asked == "auto" else asked


def images_for(asked: Asked) -> tuple[Images, str]:
    """Return CIFAR-100's images where they are at hand, else noise; and which it is."""
    if SOURCE.look(asked.data).missing:
        return noise(asked.count, SOURCE), "random, of CIFAR-100's shape"
    train = SOURCE.load(asked.data).train
    assert isinstance(train, Images)
    return train.first(asked.count), "CIFAR-100"


def facts_of(device: torch.device) -> dict[str, Any]:
    """Say where, how and when."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **environment.describe(name, torch.get_num_threads()),
        "cores": os.cpu_count(),
        "load_before": [*os.getloadavg()],
        "clock": "CPU time" if device.type == "cpu" else "events on the GPU",
    }
