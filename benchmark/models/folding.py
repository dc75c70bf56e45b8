"""Fold the batch norms of a frozen network into the convolutions before them.

The features stay the same up to rounding. Which batch norms can be folded is found by tracing a
forward pass of a blank image: a batch norm is folded if it alone reads a convolution's output, and
that output is no feature. In a pre-activation network half of the batch norms read sums, and stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmark.models.tracing import ModuleCall, Trace, run_on_meta_device


class Folded(nn.BatchNorm2d):
    """A folded batch norm: it returns its input, and keeps its statistics.

    Methods read the statistics, and the weights keep their names.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the same tensor."""
        assert not self.training, "a network with folded batch norms cannot be trained"
        return x


class ConvNormPair(NamedTuple):
    """A convolution and the batch norm that is the only reader of its output."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    path: str
    """Path of the batch norm."""


def fold(network: nn.Module, size: int) -> list[str]:
    """Fold all batch norms that can be folded, in place; return their paths.

    The network must be frozen and stay so. ``size`` is the height and width of its images.
    """
    pairs = list(foldable_pairs(network, size))
    for conv, norm, path in pairs:
        fold_into_conv(conv, norm)
        network.set_submodule(path, folded_norm(norm))
    return [pair.path for pair in pairs]


def foldable_pairs(network: nn.Module, size: int) -> Iterator[ConvNormPair]:
    """Return the convolutions with a batch norm of their own, each called once in a pass."""
    run_on_meta_device(network, (3, size, size))  # a network may run twice on images of a new size
    trace = Trace()
    with ReadCounter() as reads:
        trace.run(network, (3, size, size))
    reads.note(trace.result)  # methods read features
    times = Counter(call.module for call in trace.calls)
    made = {id(call.output): call for call in trace.calls if times[call.module] == 1}
    for call in trace.calls:
        source = made.get(id(call.source))
        if source and times[call.module] == 1 and reads.times[id(call.source)] == 1:
            yield from conv_norm_pairs(source, call)


def conv_norm_pairs(source: ModuleCall, call: ModuleCall) -> Iterator[ConvNormPair]:
    """Pair two calls if they are a plain convolution's and a plain batch norm's, no subclass's.

    A subclass may do more, for example standardise its weights.
    """
    conv, norm = source.module, call.module
    # Compare types: isinstance would accept subclasses.
    if (type(conv), type(norm)) == (nn.Conv2d, nn.BatchNorm2d):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        if norm.affine and norm.track_running_stats:
            yield ConvNormPair(conv, norm, call.path)


class ReadCounter(TorchFunctionMode):
    """Counts how often each tensor is read by an operation that makes another tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[int] = Counter()
        self._kept: list[Tensor] = []  # keep it alive, or another tensor might get the same id

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Count the tensors that a call reads, unless it only asks for a shape and the like."""
        given = kwargs or {}
        result = func(*args, **given)
        if next(iterate_tensors(result), None) is not None:
            self.note([args, given])
        return result

    def note(self, read: object) -> None:
        """Count the tensors in something as read."""
        for tensor in iterate_tensors(read):
            self.times[id(tensor)] += 1
            self._kept.append(tensor)


def iterate_tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in a value, also in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from iterate_tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from iterate_tensors(part)


# ---------------------------------------------------------------- the folding


@torch.no_grad()
def fold_into_conv(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Change a convolution's weights so that it returns what its batch norm would in eval mode."""
    state = {name: value.double() for name, value in norm.state_dict().items()}
    scale = state["weight"] / (state["running_var"] + norm.eps).sqrt()
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    shifted = (bias - state["running_mean"]) * scale + state["bias"]
    scaled = conv.weight.double() * scale.view(-1, 1, 1, 1)
    kind = conv.weight.dtype
    conv.weight = nn.Parameter(scaled.to(kind), requires_grad=False)
    conv.bias = nn.Parameter(shifted.to(kind), requires_grad=False)


def folded_norm(norm: nn.BatchNorm2d) -> Folded:
    """Return the module that replaces a folded batch norm."""
    folded = Folded(norm.num_features, norm.eps).to(norm.weight)
    folded.load_state_dict(norm.state_dict())
    return folded.requires_grad_(False).eval()
