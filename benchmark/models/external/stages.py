"""Find the stages of another library's network from a trace of a blank image.

- A *stage* is the part of the network at one resolution. It ends in the last map before the
  resolution drops, or before global pooling. The cut is made between modules that follow one
  another, never inside a block. There are at most four; a resolution at which nothing but the
  strided convolution or the pooling that led to it happens, and the image's own, count as the stem,
  as in the field's papers.
- The *stem* is the map that enters the first stage.
- A *preact* is what enters the activation that returns the stage's map. Where no activation does
  (a linear bottleneck, a sum of residuals, a concatenation), it is the stage's map itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from benchmark.config.errors import UserError
from benchmark.models.tracing import ActivationCall, ModuleCall, Trace, size_errors_for

DEFAULT_IMAGE_SIDE = 224
MAX_STAGES = 4
MIN_DROP = 1.5  # losing a border, as convolutions without padding do, is no drop in resolution


class Tap(NamedTuple):
    """A place in a network where a tensor can be seen."""

    path: str
    side: Literal["input", "output"]
    call: int
    """Which of the module's calls in one pass, from 0: a ReLU may be called several times."""
    written: bool
    """Whether the network changes this tensor later, so that it must continue with a copy."""
    channels_last: bool


class FeatureLayout(NamedTuple):
    """The places in a network where its features are."""

    stem: Tap
    stages: tuple[Tap, ...]
    preacts: tuple[Tap, ...]
    norms: tuple[str | None, ...]
    """The path of the batch norm behind each preact, if there is one."""
    embedding: Tap
    classifier: str
    resolutions: int
    """The number of different resolutions of the stages."""
    behind: tuple[str, ...]
    """The paths of the modules that are called after the last stage, and only there."""


def find_layout(
    network: nn.Module, name: str, paths: Sequence[str] = (), side: int = DEFAULT_IMAGE_SIDE
) -> FeatureLayout:
    """Find the stages on an image of that side, or take the outputs of the modules at the paths.

    Raises ``UserError`` if there are none, or if no linear layer returns the logits.
    """
    trace = Trace()
    with size_errors_for(name, (side, side)):
        trace.run(network, (3, side, side))
    linear = [call for call in trace.calls if isinstance(call.module, nn.Linear)]
    logits = linear[-1].output if linear else None
    if logits is None or logits is not trace.result or logits.dim() != 2:
        raise UserError(f"{name}: no linear layer returns its logits, so there is no embedding")
    if paths:
        ends = [call_at(trace, network, name, path) for path in paths]
        first = ends[0]
    else:
        ends, first = find_stages(trace, name, side)
    seen = [tap_stage(trace, call) for call in ends]
    return FeatureLayout(
        stem=tap_call(first, "input"),
        stages=tuple(stage for stage, _, _ in seen),
        preacts=tuple(preact for _, preact, _ in seen),
        norms=tuple(norm for _, _, norm in seen),
        embedding=tap_call(linear[-1], "input"),
        classifier=linear[-1].path,
        resolutions=len({side_of_map(call.output) for call in ends}),
        behind=paths_behind(trace, ends[-1]),
    )


# ---------------------------------------------------------------- where stages end


def find_stages(trace: Trace, name: str, side: int) -> tuple[list[ModuleCall], ModuleCall]:
    """Return the calls that end the stages, and the one that begins the first."""
    stretches: list[list[ModuleCall]] = [[]]
    before = side
    for call in main_path(trace, side):
        now = side_of_map(call.output)
        if before / now >= MIN_DROP:
            stretches.append([])
        stretches[-1].append(call)
        before = now
    stages = [
        calls
        for calls in stretches[1:]
        if any(has_layer_beyond_reduction(trace, call) for call in calls)
    ]
    if len(stages) < 2:
        raise UserError(
            f"{name}: found no stages, since its modules return no maps (B, C, H, W) of falling "
            f"resolution. Modules that do return maps can be named: {name}@PATH+PATH"
        )
    if stretches[-1] not in stages and any(layers_in(trace, call) for call in stretches[-1]):
        stages.append(stretches[-1])  # one block, all of which reduces
    begins = next(
        call for call in stages[-MAX_STAGES:][0] if has_layer_beyond_reduction(trace, call)
    )
    return [calls[-1] for calls in stages[-MAX_STAGES:]], begins


def main_path(trace: Trace, side: int) -> list[ModuleCall]:
    """List the calls through which all of the network's information passes, one after another."""
    calls = [call for call in calls_on_path(trace, None, side) if side_of_map(call.output) > 1]
    kept: list[ModuleCall] = []
    for call in reversed(calls):  # what is smaller than a later map was a branch
        if not kept or side_of_map(call.output) >= side_of_map(kept[-1].output):
            kept.append(call)
    return kept[::-1]


def calls_on_path(trace: Trace, parent: ModuleCall | None, before: int) -> Iterator[ModuleCall]:
    """Yield the calls inside one; for one that spans several stages, those inside it."""
    for call in trace.children(parent):
        now = map_side(call.output)
        if now is None:
            continue
        entering = map_side(call.source) or before
        if entering / now > 2 * MIN_DROP and trace.children(call):
            yield from calls_on_path(trace, call, entering)
        else:
            yield call
        before = now


def has_layer_beyond_reduction(trace: Trace, call: ModuleCall) -> bool:
    """Whether weights work here, beyond those that reduce the map."""
    layers = layers_in(trace, call)
    sides = [(map_side(layer.source), map_side(layer.output)) for layer in layers]
    return any(a is None or b is None or a / b < MIN_DROP for a, b in sides)


def layers_in(trace: Trace, call: ModuleCall) -> list[ModuleCall]:
    """List the convolutions and linear layers inside a call, itself included."""
    calls = (call, *trace.inside(call))
    return [inner for inner in calls if isinstance(inner.module, nn.Conv2d | nn.Linear)]


def call_at(trace: Trace, network: nn.Module, name: str, path: str) -> ModuleCall:
    """Return the last call of the module at a path. Raises ``UserError``."""
    calls = [call for call in trace.calls if call.path == path]
    if not calls:
        known = [other for other, _ in network.named_modules() if other]
        close = difflib.get_close_matches(path, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise UserError(f"{name}: no module '{path}' is called.{hint}")
    output = calls[-1].output
    if map_side(output) is None:
        said = "no tensor" if output is None else f"{tuple(output.shape)} of one image"
        raise UserError(f"{name}: '{path}' returns {said}, which is not a map (B, C, H, W)")
    return calls[-1]


def paths_behind(trace: Trace, end: ModuleCall) -> tuple[str, ...]:
    """Return the paths of the modules that are called after a call has ended, and only then."""
    before = {call.path for call in trace.calls[: end.exited]}
    after = dict.fromkeys(call.path for call in trace.calls[end.exited :])
    return tuple(path for path in after if path not in before)


def map_side(x: Tensor | None) -> int | None:
    """Return the side of a square map, (B, C, H, W) or channels last; None for other tensors."""
    if x is None or x.dim() != 4:
        return None
    _, a, b, c = x.shape
    if b == c:
        return b
    return a if a == b else None


def side_of_map(x: Tensor | None) -> int:
    """Return the side of a tensor that is known to be a map."""
    side = map_side(x)
    assert side is not None
    return side


# ---------------------------------------------------------------- what is seen of a stage


def tap_call(call: ModuleCall, side: Literal["input", "output"], version: int | None = None) -> Tap:
    """Tap a call; ``version`` is that of the tensor when it is what it should be."""
    tensor = call.source if side == "input" else call.output
    assert tensor is not None
    seen = call.source_version if side == "input" else call.output_version
    written = tensor._version != (seen if version is None else version)
    last = tensor.dim() == 4 and tensor.shape[2] != tensor.shape[3]
    return Tap(call.path, side, call.number, written, last)


def tap_stage(trace: Trace, end: ModuleCall) -> tuple[Tap, Tap, str | None]:
    """Tap a stage and its preact; name the batch norm behind it."""
    entered = [
        event
        for event in trace.activations  # not one whose result has been added to since
        if event.output is end.output and event.version_after >= end.output_version
    ]
    if not entered:
        stage = tap_call(end, "output")
        return stage, stage, norm_behind(trace, end.output, end.exited)
    event = entered[-1]
    stage = tap_call(end, "output", event.version_after)
    preact = tap_preact(trace, event)
    if preact is None:  # a sum that no module returns, and a function activates
        return stage, stage, None
    return stage, preact, norm_behind(trace, event.source, event.position)


def tap_preact(trace: Trace, event: ActivationCall) -> Tap | None:
    """Tap what enters an activation: before its module, else behind another. None: neither."""
    for call in reversed(trace.calls):
        if call.source is event.source and call.output is event.output and not trace.inside(call):
            return tap_call(call, "input")
    for call in reversed(trace.calls):
        if call.output is event.source and call.output_version == event.version:
            return tap_call(call, "output")
    return None


def norm_behind(trace: Trace, preact: Tensor | None, position: int) -> str | None:
    """Name the batch norm that returns a preact, or else what a shortcut is then added to."""
    assert preact is not None
    earlier = trace.calls[:position]
    norms = [call for call in earlier if isinstance(call.module, nn.BatchNorm2d)]
    # A sum in place is still the tensor that the block's own batch norm has returned.
    if same := [call.path for call in norms if call.output is preact]:
        return same[-1]
    layers = (nn.BatchNorm2d, nn.Conv2d, nn.Linear, nn.LayerNorm, nn.GroupNorm)
    last = next((call for call in reversed(earlier) if isinstance(call.module, layers)), None)
    if last not in norms or output_shape(last) != preact.shape:
        return None
    # The shortcut may have come last. It reads what the block reads; then the branch's norm counts.
    for block in reversed(earlier[: last.entered]):
        if block.exited > last.entered and block.source is conv_input(trace, last):
            branch = [
                norm
                for norm in norms
                if block.entered < norm.entered < last.entered
                and output_shape(norm) == preact.shape
                and conv_input(trace, norm) is not block.source
            ]
            if branch:
                return branch[-1].path
    return last.path


def output_shape(call: ModuleCall) -> torch.Size | None:
    """Return the shape of what a call returned."""
    return None if call.output is None else call.output.shape


def conv_input(trace: Trace, norm: ModuleCall) -> Tensor | None:
    """Return what the convolution before a batch norm reads."""
    before = trace.calls[: norm.entered]
    sources = [call.source for call in before if isinstance(call.module, nn.Conv2d)]
    return sources[-1] if sources else None
