"""Import a teacher's checkpoint in one of the formats that the field publishes.

An imported teacher becomes a run folder like any other, with weights and a record, so that students
find, check and name it as they do a teacher that was trained here. Its identity is the sha256 of
its weights. The file is read without executing code from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from benchmark import models
from benchmark.config.errors import UserError
from benchmark.config.runs import ImportedTeacher
from benchmark.data import Source, find_data_set
from benchmark.data.preprocessing import describe_preprocessing
from benchmark.data.stream import TestImages
from benchmark.evaluation.accuracy import Scores, batch_score_sums, mean_scores
from benchmark.evaluation.measures import compute_measures
from benchmark.evaluation.predictions import Predictions, predict
from benchmark.job.claimed_run import utc_now
from benchmark.job.recording import serialise
from benchmark.models.checkpoints import network_with_weights, read_checkpoint
from benchmark.models.flops import flops_per_image
from benchmark.store.environment import describe_environment
from benchmark.store.folder import RunFolder, Store
from benchmark.store.preprocessing import Preprocessing
from benchmark.store.record import (
    Cost,
    Environment,
    FinalResult,
    ImportedFile,
    Record,
    WrittenFile,
)
from benchmark.training.build import TEST_BATCH, to_device
from benchmark.training.numerics import apply_profile

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
"""Percent of test images by which a teacher may miss its published accuracy: 5 of 10,000."""


Published = float | Literal["none"] | None
"""The test top-1 in percent that a teacher should have; None: that of `PUBLISHED`, if any."""


class ImportedRun(NamedTuple):
    """The run folder of an imported teacher, and what its user should know."""

    folder: RunFolder
    remarks: list[str]


def import_checkpoint(
    file: Path,
    network: str,
    dataset: str,
    published: Published,
    store: Store,
    data: Path,
    take: str | None = None,
) -> ImportedRun:
    """Import a checkpoint file as a teacher. A second import measures nothing again.

    ``take`` names one of several sets of weights in the file. Raises UserError where the network
    is unknown, the file does not fit it, or its outputs are not finite; nothing is written then.
    """
    models.network_factory(network)  # raises for an unknown network before the file is read
    source = find_data_set(dataset, data)
    content_of_file = read_checkpoint(file)
    built, remarks = network_with_weights(network, source.classes, content_of_file, file, take)
    run = ImportedTeacher(dataset=dataset, student=network, weights=models.fingerprint(built))
    folder = store.run(run.id)
    if folder.state() == "done":
        return ImportedRun(folder, [*remarks, *correct_published(folder, published)])
    evaluation = evaluate_network(built, source, data)
    if not evaluation.predictions.logits.isfinite().all():
        raise UserError(f"{file}: the network's outputs on the test images are not all finite")
    folder.write_config(run.as_json())
    content = serialise(built.state_dict())
    parameters = models.count_parameters(built)
    described = describe_preprocessing(source, data)
    record = build_import_record(run, file, parameters, evaluation, content, published, described)
    predictions = evaluation.predictions.as_npy()
    record = replace(record, predictions=WrittenFile.of(predictions))
    folder.finish(record, content, predictions)
    if published is None and record.published is not None:
        remarks.append(
            f"compared with {record.published:.2f} of the CRD benchmark's {network}; if these are "
            "other weights, give `--published` their own number, or none"
        )
    return ImportedRun(folder, remarks)


def correct_published(folder: RunFolder, published: Published) -> list[str]:
    """Change the published number of a teacher that is imported already, if another is given."""
    record = folder.load_record()
    network, dataset = record.config["student"], record.config["dataset"]
    number, remark = compare_with_published(network, dataset, record.result.top1, published)
    if published is None or number == record.published:
        return ["it was imported before; nothing was measured again"]
    folder.correct_record(replace(record, published=number, remark=remark).as_json())
    before, now = (
        "none" if value is None else f"{value:.2f}" for value in (record.published, number)
    )
    return [f"it was imported before; its published number was {before} and is {now} now"]


def compare_with_published(
    network: str, dataset: str, top1: float, published: Published
) -> tuple[float | None, str | None]:
    """Return the number that a teacher should have, and a remark if it misses it."""
    assumed = PUBLISHED.get((dataset, network)) if published is None else None
    number = published if isinstance(published, float) else assumed
    if number is None or not is_below_published(top1, number):
        return number, None
    whose = f" of the CRD benchmark's {network}" if assumed else " that was published"
    return number, f"below the {number:.2f}{whose}"


def is_below_published(top1: float, published: float | None) -> bool:
    """Whether an accuracy is below the published one by more than rounding explains."""
    return published is not None and top1 < published - TOLERANCE


class NetworkEvaluation(NamedTuple):
    """Accuracy, predictions and operations of an imported network."""

    scores: Scores
    predictions: Predictions
    flops: int
    """Of one image's forward pass."""


def evaluate_network(network: nn.Module, source: Source, data: Path) -> NetworkEvaluation:
    """Evaluate a network on all test images, in one pass."""
    apply_profile("strict")
    device = torch.device(_device())
    test = TestImages(source.load(data).test, source, device, TEST_BATCH)
    to_device(network, device)
    predictions = predict(network, test)
    flops = flops_per_image(network, predictions.images)
    network.cpu()
    tensors = predictions.logits, predictions.labels
    batches = zip(*(torch.split(x, TEST_BATCH) for x in tensors), strict=True)
    sums = torch.stack([batch_score_sums(*batch) for batch in batches]).sum(dim=0)
    scores = mean_scores(sums.tolist(), len(predictions.labels))
    return NetworkEvaluation(scores, predictions, flops)


def build_import_record(
    run: ImportedTeacher,
    file: Path,
    parameters: int,
    evaluation: NetworkEvaluation,
    weights: bytes,
    published: Published,
    preprocessing: Preprocessing,
) -> Record:
    """Return the record of an imported teacher; ``weights`` is the content of its weights file."""
    now, top1 = utc_now(), evaluation.scores.top1
    number, remark = compare_with_published(run.student, run.dataset, top1, published)
    return Record(
        schema=1,
        id=run.id,
        kind="import",
        config=run.as_json(),
        result=FinalResult(**evaluation.scores._asdict(), epoch=0),
        published=number,
        remark=remark,
        history=(),
        weights=WrittenFile.of(weights),
        file=ImportedFile(file.name, _sha256(file)),
        preprocessing=preprocessing,
        measures=compute_measures(evaluation.predictions, None),
        cost=Cost(
            parameters=parameters,
            deployed_parameters=parameters,
            flops=evaluation.flops,
            deployed_flops=evaluation.flops,
        ),
        environment=Environment(**describe_environment(_device())),
        started=now,
        finished=now,
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
