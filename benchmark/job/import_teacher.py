"""Teachers from elsewhere: checkpoints as the field publishes them, read safely and measured.

An imported teacher becomes a run folder like any other, with weights and a record, so that students
find it, check it and name it as they do with a teacher that was trained here. Its identity is the
sha256 of its weights.
"""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmark import models
from benchmark.config.runs import Imported
from benchmark.data import Source, find
from benchmark.data.stream import TestImages
from benchmark.evaluation.accuracy import Scores, scores_of, sums_of
from benchmark.evaluation.measures import measures
from benchmark.evaluation.predictions import Answers, answers
from benchmark.models.checkpoints import fitted, read, weights_of
from benchmark.models.flops import of_pass
from benchmark.store import environment
from benchmark.store.folder import RunFolder, Store
from benchmark.training.build import TEST_BATCH, place
from benchmark.training.numerics import adopt

PUBLISHED = {
    ("cifar100", "resnet56"): 72.34,
    ("cifar100", "resnet110"): 74.31,
    ("cifar100", "resnet32x4"): 79.42,
    ("cifar100", "wrn_40_2"): 75.61,
    ("cifar100", "vgg13"): 74.64,
    ("cifar100", "ResNet50"): 79.34,
}
"""Test top-1 in percent of the CRD benchmark's teachers (RepDistiller's table)."""

TOLERANCE = 0.05
"""Percent of test images: five of ten thousand."""


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


def shortfall(top1: float, published: float | None) -> bool:
    """Whether a teacher is worse than it should be, by more than arithmetic explains."""
    return published is not None and top1 < published - TOLERANCE


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
