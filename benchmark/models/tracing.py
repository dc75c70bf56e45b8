"""Trace all calls of a network's modules in the forward pass of a blank image.

The pass runs on the meta device: all modules are called and all shapes are right, but nothing is
computed and no buffer changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from benchmark.config.errors import UserError

ACTIVATIONS = {
    *("relu", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu"),
    *("gelu", "silu", "mish", "hardswish", "hardtanh", "softplus"),
}


@dataclass(eq=False)
class ModuleCall:
    """One call of one module. Tensor versions show whether a tensor was changed in place later."""

    path: str
    module: nn.Module
    number: int
    entered: int
    exited: int
    """``calls[entered + 1 : exited]`` are the calls inside this one."""
    depth: int
    source: Tensor | None
    source_version: int
    output: Tensor | None = None
    output_version: int = 0


class ActivationCall(NamedTuple):
    """One call of an activation function, in a module or not."""

    source: Tensor
    version: int
    output: Tensor
    version_after: int
    position: int
    """The number of module calls that had begun."""


class Trace(TorchFunctionMode):
    """All calls of one pass, in the order in which they began."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[ModuleCall] = []
        self.activations: list[ActivationCall] = []
        self.result: object = None
        self._open: list[ModuleCall] = []
        self._times: Counter[nn.Module] = Counter()

    def run(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        """Trace the forward pass of a blank image (C, H, W)."""
        handles = []
        for path, module in list(network.named_modules())[1:]:
            handles.append(module.register_forward_pre_hook(self._enter(path)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            with self:
                self.result = run_on_meta_device(network, shape)
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            source = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
            number, now, depth = self._times[module], len(self.calls), len(self._open)
            version = 0 if source is None else source._version
            self.calls.append(ModuleCall(path, module, number, now, now, depth, source, version))
            self._times[module] += 1
            self._open.append(self.calls[-1])

        return hook

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        call = self._open.pop()
        call.exited = len(self.calls)
        if isinstance(output, Tensor):
            call.output, call.output_version = output, output._version

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Records the calls of activation functions among all torch functions."""
        given = kwargs or {}
        if getattr(func, "__name__", "").rstrip("_") not in ACTIVATIONS:
            return func(*args, **given)
        source: Tensor = args[0] if args else given["input"]
        version = source._version
        output = func(*args, **given)
        event = ActivationCall(source, version, output, output._version, len(self.calls))
        self.activations.append(event)
        return output

    def inside(self, call: ModuleCall) -> list[ModuleCall]:
        """All calls inside a call."""
        return self.calls[call.entered + 1 : call.exited]

    def children(self, call: ModuleCall | None) -> list[ModuleCall]:
        """The calls directly inside a call; for None, those of the network itself."""
        within, depth = (self.inside(call), call.depth + 1) if call else (self.calls, 0)
        return [other for other in within if other.depth == depth]


def run_on_meta_device(network: nn.Module, shape: tuple[int, ...]) -> object:
    """Run one blank image (C, H, W) in eval mode on the meta device."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    weights = {name: value.detach().to("meta") for name, value in tensors}
    with eval_mode(network), torch.no_grad():
        return functional_call(network, weights, torch.empty(1, *shape, device="meta"))


@contextmanager
def size_errors_for(name: str, pixels: Sequence[int]) -> Iterator[None]:
    """Turn a network's error about an image of the wrong size into a ``UserError``."""
    try:
        yield
    except (RuntimeError, ValueError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        size = "x".join(map(str, pixels))
        raise UserError(f"{name} cannot see images of {size} pixels: {why}") from error


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put every module into eval mode; afterwards restore each one's mode."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
