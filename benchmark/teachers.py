"""Teachers from elsewhere: checkpoints as the field publishes them, read safely and measured.

An imported teacher becomes a run folder like any other, with weights and a record, so that students
find it, check it and name it as they do with a teacher that was trained here. Its identity is the
sha256 of its weights.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmark import environment, models
from benchmark.assemble import TEST_BATCH, place
from benchmark.data import Source, find
from benchmark.data.stream import TestImages
from benchmark.errors import UserError
from benchmark.evaluate import Scores, scores_of, sums_of
from benchmark.measures import measures
from benchmark.measures.answers import Answers, answers
from benchmark.measures.flops import of_pass
from benchmark.numerics import adopt
from benchmark.runs import Imported
from benchmark.store import RunFolder, Store

PUBLISHED = {
    ("cifar100", "resnet56"): 72.34,
    ("cifar100", "resnet110"): 74.31,
    ("cifar100", "resnet32x4"): 79.42,
    ("cifar100", "wrn_40_2"): 75.61,
    ("cifar100", "vgg13"): 74.64,
    ("cifar100", "ResNet50"): 79.34,
}
"""Test top-1 in percent of the CRD benchmark's teachers (RepDistiller's table)."""

SCALAR = np.float64(0).__reduce__()[0]
TOLERANCE = 0.05
"""Percent of test images: five of ten thousand."""
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)),
    # The same function, by the names that it has had in numpy 1 and 2.
    (SCALAR, "numpy.core.multiarray.scalar"),
    (SCALAR, "numpy._core.multiarray.scalar"),
]
"""What published checkpoints hold beside tensors: the options they were trained with, and numbers.
None of these runs code when it is unpickled."""

PLACES = ("model", "state_dict", "net", "student", "model_state_dict")
"""Where a checkpoint keeps its weights, if not at its top."""


def bring_in(
    file: Path, network: str, dataset: str, published: float | None, store: Store, data: Path
) -> RunFolder:
    """Read a checkpoint, measure it, keep it; doing so again changes nothing. Raises UserError."""
    models.maker(network)  # a UserError of its own where there is none
    source = find(dataset, data)
    weights = weights_of(read(file), file)
    built = fitted(network, source.classes, weights, file)
    run = Imported(dataset=dataset, student=network, weights=models.fingerprint(built))
    folder = store.run(run.id)
    if folder.state() == "done":
        return folder
    arrival = examined(built, source, data)
    folder.write_config(run.as_json())
    payload = io.BytesIO()
    torch.save(built.state_dict(), payload)
    sha256 = folder.save_weights(payload.getvalue())
    folder.save_predictions(arrival.answers.as_npy())
    expected = PUBLISHED.get((dataset, network)) if published is None else published
    folder.write_record(record(run, file, built, arrival, sha256, expected))
    return folder


def tell(folder: RunFolder, console: Console) -> None:
    """Say how good the teacher is, and what a suite writes to use it."""
    made = folder.read_record()
    run, top1, published = made["config"], made["result"]["top1"], made["published"]
    said = "" if published is None else f", published {published:.2f}"
    console.print(f"{folder.path.name}: test top-1 {top1:.2f}{said}", soft_wrap=True)
    if made["remark"]:
        console.print(f"{made['remark'].capitalize()}: every table that rests on it will say so.")
    console.print(
        f"In a suite:\nteacher:\n  imported:\n    {run['student']}: {run['weights']}",
        soft_wrap=True,
    )


def shortfall(top1: float, published: float | None) -> bool:
    """Whether a teacher is worse than it should be, by more than arithmetic explains."""
    return published is not None and top1 < published - TOLERANCE


def read(file: Path) -> Any:  # noqa: ANN401
    """Unpickle a checkpoint without running what may be in it."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which are read all the same
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except ImportError:
        raise UserError(f"{file}: reading it needs `pip install safetensors`") from None
    except pickle.UnpicklingError as error:
        what = next((line for line in str(error).splitlines() if "GLOBAL" in line), "")
        raise UserError(
            f"{file}: refused: it holds more than weights, which could run code when loaded. "
            + " ".join(what.split())
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{file}: is no checkpoint that can be read ({error})") from error


def weights_of(content: Any, file: Path) -> dict[str, Tensor]:  # noqa: ANN401
    """Find the weights in a checkpoint; `module.`, which DataParallel leaves, is taken off."""
    for place_ in (None, *PLACES):
        found = content if place_ is None else isinstance(content, Mapping) and content.get(place_)
        if isinstance(found, Mapping) and found and all(map(torch.is_tensor, found.values())):
            return {str(name).removeprefix("module."): value for name, value in found.items()}
    keys = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
    raise UserError(
        f"{file}: no weights in it. They may stand at its top or under {', '.join(PLACES)}; "
        f"it holds: {keys[:200]}"
    )


def fitted(name: str, classes: int, weights: Mapping[str, Tensor], file: Path) -> nn.Module:
    """Put weights into a network, every one at its place. Raises UserError naming what differs."""
    network = models.build(name, classes, seed=0)
    own = network.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # unknown to old files
    problems = [f"missing {key}" for key in own if key not in weights and key not in counters]
    problems += [f"unknown {key}" for key in weights if key not in own]
    problems += [
        f"{key} is {tuple(weights[key].shape)}, {name} has {tuple(value.shape)}"
        for key, value in own.items()
        if key in weights and weights[key].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(
            f"{file}: is no {name} of {classes} classes: {'; '.join(problems[:5])}{more}"
        )
    network.load_state_dict({key: weights.get(key, value) for key, value in own.items()})
    spoilt = [key for key, value in network.state_dict().items() if not value.isfinite().all()]
    if spoilt:
        raise UserError(f"{file}: not all of {spoilt[0]} are finite numbers")
    return network


class Arrival(NamedTuple):
    """What is found out about a network when it is brought in."""

    scores: Scores
    answers: Answers
    flops: int


def examined(network: nn.Module, source: Source, data: Path) -> Arrival:
    """Show all test images to a network, once."""
    adopt("strict")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    test = TestImages(source.load(data).test, source, device, TEST_BATCH)
    place(network, device)
    seen = answers(network, test)
    flops = of_pass(network, seen.images)
    network.cpu()
    batches = zip(*(torch.split(x, TEST_BATCH) for x in (seen.logits, seen.labels)), strict=True)
    sums = torch.stack([sums_of(*batch) for batch in batches]).sum(dim=0)
    return Arrival(scores_of(sums.tolist(), len(seen.labels)), seen, flops)


def record(
    run: Imported,
    file: Path,
    network: nn.Module,
    arrival: Arrival,
    sha256: str,
    published: float | None,
) -> dict[str, Any]:
    """Make the record of an import: what was measured on arrival."""
    count = models.count_parameters(network)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "schema": 1,
        "id": run.id,
        "kind": "import",
        "config": run.as_json(),
        "result": {**arrival.scores._asdict(), "epoch": 0},
        "published": published,
        "remark": f"below the {published:.2f} that was published"
        if shortfall(arrival.scores.top1, published)
        else None,
        "history": [],
        "teacher": None,
        "weights": {"sha256": sha256},
        "file": {"name": file.name, "sha256": digest},
        "measures": measures(arrival.answers, None),
        "cost": {
            "parameters": count,
            "deployed_parameters": count,
            "flops": arrival.flops,
            "deployed_flops": arrival.flops,
        },
        "environment": environment.describe("cuda" if torch.cuda.is_available() else "cpu"),
        "started": now,
        "finished": now,
    }
