"""`run_all.py speed`: reads the request, measures what is missing, and prints the tables."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown

from benchmark import models
from benchmark.cli.console import DONE, make_console
from benchmark.config.errors import UserError
from benchmark.config.recipe import Recipe
from benchmark.data.source import Images
from benchmark.speed.both_sides import Setting
from benchmark.speed.measure import SOURCE, Measurement, Request
from benchmark.speed.memory import CIFAR_SIZES, parse_method_label, random_cifar_images
from benchmark.speed.ratios import PairNames
from benchmark.speed.result import SpeedResult
from benchmark.speed.saved_result import read_result
from benchmark.speed.tables import render_markdown
from benchmark.store import environment
from benchmark.training.numerics import apply_profile

PAIRS = "wrn_40_2:wrn_16_2", "vgg13:vgg8", "resnet110:resnet20", "resnet32x4:resnet8x4"
GPU_STEPS = 20
TRAINING_EPOCHS = 240


def speed(options: argparse.Namespace) -> int:
    """Measure, and print the tables and the paths of the files. Raises ``UserError``."""
    console = make_console()
    request = read_request(options)
    result = measure_speed(request, console)
    console.print(Markdown(render_markdown(result)))
    for written in (request.into.with_suffix(".md"), request.into):
        console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    return DONE


def measure_speed(request: Request, console: Console) -> SpeedResult:
    """Measure what the file of results does not have yet. Raises ``UserError``."""
    device = torch.device(choose_device(request.device))
    apply_profile("strict")
    images, images_name = load_images(request)
    recipe = Recipe(epochs=TRAINING_EPOCHS, batch_size=request.batch, lr=0.05, init_epochs="extra")
    steps = GPU_STEPS if device.type == "cuda" else 1
    setting = Setting(SOURCE, images, recipe, device, steps)
    facts = describe_machine(device) | {
        "batch": request.batch,
        "methods": [entry.label for entry in request.entries],
        "images": images_name,
        "train_images": len(images.labels),
        "epochs": TRAINING_EPOCHS,
    }
    earlier = read_result(request.into, facts)
    return Measurement(request, setting, facts, earlier, console).run()


def read_request(options: argparse.Namespace) -> Request:
    """Read the flags. Raises ``UserError``."""
    labels = [label.strip() for label in options.methods.split(",") if label.strip()]
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"--methods {options.methods}: expected methods by name, each once")
    if not 2 <= options.batch <= CIFAR_SIZES[0]:
        raise UserError(f"--batch {options.batch}: expected 2 to {CIFAR_SIZES[0]} images")
    new = options.results / "speed" / f"speed-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return Request(
        [parse_speed_pair(text) for text in options.pairs or PAIRS],
        [parse_method_label(label) for label in labels],
        options.batch,
        options.seconds,
        options.device,
        options.data_root,
        (options.into or new).with_suffix(".json"),
        crd_table=not options.pairs,
    )


def parse_speed_pair(text: str) -> PairNames:
    """Read TEACHER:STUDENT. Raises ``UserError``."""
    teacher, colon, student = text.partition(":")
    if not colon:
        raise UserError(f"--pair {text}: expected TEACHER:STUDENT")
    for name in (teacher, student):
        models.network_factory(name)
    return PairNames(teacher, student)


def choose_device(name: str) -> str:
    """Return `cuda` or `cpu`; `auto` is a GPU if there is one. Raises ``UserError``."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: torch sees no GPU here")
    return ("cuda" if available else "cpu") if name == "auto" else name


def load_images(request: Request) -> tuple[Images, str]:
    """Return CIFAR-100's train images, or random ones if it is not there; and which they are."""
    if SOURCE.presence(request.data).missing:
        return random_cifar_images(request.count, SOURCE), "random, of CIFAR-100's shape"
    train = SOURCE.load(request.data).train
    assert isinstance(train, Images)
    return train.first(request.count), "CIFAR-100"


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return where, how and when this call measures."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **environment.describe_environment(name, torch.get_num_threads()),
        "cores": os.cpu_count(),
        "load_before": [*os.getloadavg()],
        "clock": "CPU time" if device.type == "cpu" else "events on the GPU",
    }
