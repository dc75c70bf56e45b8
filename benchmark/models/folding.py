"""Batch norms folded into the convolutions before them, in a network that is frozen.

What it shows stays the same to rounding. Which batch norms can be folded is found by watching the
network look at a blank image: those that alone read what a convolution returns, which nobody is
shown either. In a pre-activation network half of them read sums, and stay.
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
    """A batch norm that was folded: it passes on what it gets, and still knows its statistics.

    Methods read them, and weights keep their names.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the same tensor."""
        assert not self.training, "a network with folded batch norms cannot be trained"
        return x


class ConvNormPair(NamedTuple):
    """A convolution and the batch norm that alone reads it."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    path: str
    """The batch norm's."""


def fold(network: nn.Module, size: int) -> list[str]:
    """Fold what can be folded, in place; return the paths of those batch norms.

    The network is frozen and stays so; ``size`` is the height and width of the images it will see.
    """
    pairs = list(foldable_pairs(network, size))
    for conv, norm, path in pairs:
        fold_into_conv(conv, norm)
        network.set_submodule(path, folded_norm(norm))
    return [pair.path for pair in pairs]


def foldable_pairs(network: nn.Module, size: int) -> Iterator[ConvNormPair]:
    """Find the convolutions that have a batch norm for themselves, each called once a pass."""
    run_on_meta_device(network, (3, size, size))  # a network may look twice at images of a new size
    trace = Trace()
    with ReadCounter() as reads:
        trace.run(network, (3, size, size))
    reads.note(trace.result)  # what is shown is read by methods
    times = Counter(call.module for call in trace.calls)
    made = {id(call.output): call for call in trace.calls if times[call.module] == 1}
    for call in trace.calls:
        source = made.get(id(call.source))
        if source and times[call.module] == 1 and reads.times[id(call.source)] == 1:
            yield from conv_norm_pairs(source, call)


def conv_norm_pairs(source: ModuleCall, call: ModuleCall) -> Iterator[ConvNormPair]:
    """Pair two calls where they are a convolution's and a batch norm's, and not of some subclass.

    A subclass may do more: standardise its weights, say, or activate.
    """
    conv, norm = source.module, call.module
    # As types, which isinstance would not do.
    if (type(conv), type(norm)) == (nn.Conv2d, nn.BatchNorm2d):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        if norm.affine and norm.track_running_stats:
            yield ConvNormPair(conv, norm, call.path)


class ReadCounter(TorchFunctionMode):
    """How often each tensor is read to make another of it, in whatever way."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[int] = Counter()
        self._kept: list[Tensor] = []  # or another tensor might get the same id

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Count a call's tensors, unless it only asks for a shape and the like."""
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
    """Yield the tensors in a value, however deep in lists, tuples and dictionaries."""
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
    """Let a convolution return what its batch norm would make of it in eval mode."""
    state = {name: value.double() for name, value in norm.state_dict().items()}
    scale = state["weight"] / (state["running_var"] + norm.eps).sqrt()
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    shifted = (bias - state["running_mean"]) * scale + state["bias"]
    scaled = conv.weight.double() * scale.view(-1, 1, 1, 1)
    kind = conv.weight.dtype
    conv.weight = nn.Parameter(scaled.to(kind), requires_grad=False)
    conv.bias = nn.Parameter(shifted.to(kind), requires_grad=False)


def folded_norm(norm: nn.BatchNorm2d) -> Folded:
    """Return what stands in a folded batch norm's place."""
    folded = Folded(norm.num_features, norm.eps).to(norm.weight)
    folded.load_state_dict(norm.state_dict())
    return folded.requires_grad_(False).eval()
