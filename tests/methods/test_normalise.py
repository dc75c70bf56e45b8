"""Normalisations that hold for a single value and for vectors of zeros."""

import pytest
import torch
from torch import tensor

from methods.blocks.normalise import Norm, unit_rows


def test_a_single_value_a_channel_is_normalised_by_the_running_statistics():
    norm = Norm(2, eps=1e-12, affine=False)
    norm.running_mean, norm.running_var = tensor([1.0, 2.0]), tensor([4.0, 9.0])
    assert norm(tensor([[3.0, 8.0]])).tolist() == [[1.0, 2.0]]
    assert norm.running_mean.tolist() == [1.0, 2.0]
    assert norm(tensor([[3.0, 8.0], [5.0, 10.0]])).tolist() == [[-1, -1], [1, 1]]
    assert norm.running_mean.tolist() != [1.0, 2.0]
    # The same for vectors and for maps of one position.
    assert norm.eval()(tensor([[3.0, 8.0]])[:, :, None, None]).shape == (1, 2, 1, 1)
    with pytest.raises(ValueError, match="expected maps or vectors"):
        norm(torch.ones(2, 2, 2))


def test_unit_rows_have_length_one_and_zeros_stay_zeros():
    rows = unit_rows(tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(rows, tensor([[0.6, 0.8], [0.0, 0.0]]))
    torch.testing.assert_close(unit_rows(tensor([3.0, 4.0]), eps=5.0), tensor([0.3, 0.4]))
