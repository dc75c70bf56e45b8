"""From what a run says to what it trains and measures on."""

from typing import Any

import torch

from benchmark.data.sets.digits import DIGITS
from benchmark.data.source import Images, Split
from benchmark.training import build
from tests.config.example_runs import RUN
from tests.training import learners


def put(data: Split[Images], **dataset: Any) -> tuple[Any, Any]:
    made = RUN.model_copy(update={"dataset": RUN.dataset.model_copy(update=dataset)})
    return build.build_streams(made, DIGITS, data, learners.CPU)


def test_by_default_train_trains_and_test_measures():
    data = learners.digits()
    stream, test = put(data)
    assert (stream.count, len(test.labels)) == (599, 1198)
    assert torch.equal(test.images.pixels, data.test.pixels)


def test_with_a_validation_part_nobody_sees_a_test_image():
    data = learners.digits()
    # Test images that would be told at once: there are none of their kind in train.
    blank = data.test._replace(pixels=torch.full_like(data.test.pixels, 255))
    stream, test = put(data._replace(test=blank), validation=100)
    assert (stream.count, len(test.labels)) == (499, 100)
    seen = torch.cat([stream.labels, test.labels]).bincount()
    assert torch.equal(seen, data.train.labels.bincount())
    assert not (test.images.pixels == 255).all(dim=(1, 2, 3)).any()


def test_a_limit_counts_what_is_left_of_train():
    stream, test = put(learners.digits(), validation=100, limit=30)
    assert (stream.count, len(test.labels)) == (30, 30)
