"""Checkpoints as other repositories publish them: read safely, fitted to a network."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.config.errors import UserError
from benchmark.models.file_formats import require_checkpoint

SCALAR = np.float64(0).__reduce__()[0]
SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)),
    # The same function under its names in numpy 1 and 2.
    (SCALAR, "numpy.core.multiarray.scalar"),
    (SCALAR, "numpy._core.multiarray.scalar"),
]
"""What published checkpoints contain besides tensors: training options and numbers. Unpickling
these classes runs no code."""
AVERAGED = ("ema", "averag", "swa")
"""Words in the names under which checkpoints keep averaged weights."""
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, FSDP and activation checkpointing put inside the names of weights."""
COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Last parts of the names of counters: of batch norms (missing in old files), of profilers (thop),
of weight averaging. None of them decides what a network computes in eval mode."""
DEEPEST = 4
"""How deep a checkpoint's dictionaries are searched for weights."""
LISTED = 4
"""How many keys a message lists of each kind."""

Weights = Mapping[str, Tensor]


class LoadedNetwork(NamedTuple):
    """A network with the weights of a file, and what the user should know of the choice."""

    network: nn.Module
    remarks: list[str]


def read_checkpoint(file: Path) -> Any:  # noqa: ANN401
    """Read a checkpoint without running code that it may contain.

    Raises UserError if the file is missing, is something else, or holds more than weights.
    """
    safetensors = require_checkpoint(file)
    try:
        if safetensors:
            from safetensors.torch import load_file

            return load_file(file)
        with torch.serialization.safe_globals(SAFE_GLOBALS), warnings.catch_warnings():
            # torch warns of old formats, which are read all the same.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except ImportError:
        raise UserError(f"{file}: reading it needs `pip install safetensors`") from None
    except pickle.UnpicklingError as error:
        what = next((line for line in str(error).splitlines() if "GLOBAL" in line), "")
        if not what and not pickled(file):
            raise UserError(f"{file}: is no checkpoint; its first bytes are unknown") from error
        raise UserError(
            f"{file}: refused: it holds more than weights, which could run code when loaded. "
            + " ".join(what.split())
        ) from error
    except Exception as error:
        # safetensors and torch's unpickler raise errors of many kinds for damaged files.
        why = _short(error) if safetensors or pickled(file) else "its first bytes are unknown"
        raise UserError(f"{file}: is no checkpoint that can be read: {why}") from error


def pickled(file: Path) -> bool:
    """Return whether a file begins as a pickle or as the zip file around one."""
    with file.open("rb") as stream:
        return stream.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def find_weights(content: Any, file: Path) -> dict[str, Weights]:  # noqa: ANN401
    """Return every dictionary of tensors in a checkpoint by its keys: `model`, `ema.state_dict`.

    The one at the top has the empty name. What is no tensor (an epoch, options) is left out.
    Raises UserError if there is none.
    """
    sets = dict(_weight_sets(content, ""))
    if not sets:
        is_mapping = isinstance(content, Mapping)
        keys = ", ".join(map(str, content)) if is_mapping else type(content).__name__
        raise UserError(f"{file}: no weights in it. It holds: {keys[:200] or 'nothing'}")
    return sets


def _weight_sets(content: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Weights]]:  # noqa: ANN401
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    tensors = {str(key): value for key, value in content.items() if torch.is_tensor(value)}
    # A lone tensor (a loss, a step) beside dictionaries is no network.
    if tensors and (len(tensors) > 1 or len(content) == 1):
        yield name, tensors
    for key, value in content.items():
        yield from _weight_sets(value, f"{name}.{key}".lstrip("."), depth + 1)


def network_with_weights(
    name: str,
    classes: int,
    content: Any,  # noqa: ANN401
    file: Path,
    take: str | None = None,
) -> LoadedNetwork:
    """Load a checkpoint's weights into a network, whatever prefix their names have.

    If several sets of weights fit, those that are not averaged are preferred; ``take`` names
    another, as `model_ema` or `module.teacher`. Raises UserError: no set fits (with the missing
    and the unknown keys), or a weight is not a plain tensor of finite numbers.
    """
    network = models.build(name, classes, seed=0)
    own = network.state_dict()
    candidates = [
        Candidate(".".join(filter(None, (key, prefix.rstrip(".")))), renamed)
        for key, weights in find_weights(content, file).items()
        for prefix, renamed in _unwrapped(weights, own)
    ]
    fitting = [candidate for candidate in candidates if not candidate.problems(own)]
    if take is not None:
        names = [candidate.name for candidate in fitting]
        fitting = [candidate for candidate in fitting if candidate.name == take]
        if not fitting:
            raise UserError(f"{file}: no weights '{take}' that fit a {name}; there are {names}")
    if not fitting:
        closest = min(candidates, key=lambda c: len(c.problems(own)))
        others = fitting_networks(closest.weights, classes)
        hint = f". The weights fit {' and '.join(others)}" if others else ""
        message = _explain(closest, own, name)
        raise UserError(f"{file}: is no {name} of {classes} classes: {message}{hint}")
    fitting.sort(key=lambda candidate: candidate.averaged)
    chosen = fitting[0]
    for key, value in chosen.weights.items():
        if key in own:
            _require_plain(file, key, value)
    network.load_state_dict({key: chosen.weights.get(key, value) for key, value in own.items()})
    spoilt = [key for key, value in network.state_dict().items() if not value.isfinite().all()]
    if spoilt:
        raise UserError(f"{file}: not all of {spoilt[0]} are finite numbers")
    return LoadedNetwork(network, list(_remarks(chosen, fitting[1:])))


class Candidate(NamedTuple):
    """A set of weights whose names have lost a prefix."""

    name: str
    """The keys that lead to the set, and the prefix."""
    weights: Weights

    @property
    def averaged(self) -> bool:
        return any(word in self.name.lower() for word in AVERAGED)

    def problems(self, own: Weights) -> list[str]:
        """Return the keys that are missing, unknown or of another shape."""
        needed = {key for key in own if not _is_counter(key)}
        unknown = [key for key in self.weights if key not in own and not _is_counter(key)]
        other = [k for k in needed & self.weights.keys() if self.weights[k].shape != own[k].shape]
        return [*(needed - self.weights.keys()), *unknown, *other]


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] in COUNTERS


def _unwrapped(weights: Weights, own: Weights) -> Iterator[tuple[str, Weights]]:
    """Yield a set of weights for every prefix under which the network's first key occurs.

    Without a prefix all keys are kept, with one only those that have it: others belong to other
    modules of the wrapper, as a teacher or a loss.
    """
    plain = {_without_wrappers(key): value for key, value in weights.items()}
    first = next(key for key in own if not _is_counter(key))
    prefixes = {key.removesuffix(first) for key in plain if f".{key}".endswith(f".{first}")}
    for prefix in sorted(prefixes | {""}):
        yield prefix, {k.removeprefix(prefix): v for k, v in plain.items() if k.startswith(prefix)}


def _without_wrappers(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _explain(candidate: Candidate, own: Weights, name: str) -> str:
    missing = [key for key in own if key not in candidate.weights and not _is_counter(key)]
    unknown = [key for key in candidate.weights if key not in own and not _is_counter(key)]
    shapes = [
        f"{key} is {tuple(candidate.weights[key].shape)}, {name} has {tuple(value.shape)}"
        for key, value in own.items()
        if key in candidate.weights and candidate.weights[key].shape != value.shape
    ]
    parts = [("missing", missing), ("unknown", unknown), ("of another shape", shapes)]
    return "; ".join(
        f"{len(keys)} {what}: {', '.join(keys[:LISTED])}{', ...' * (len(keys) > LISTED)}"
        for what, keys in parts
        if keys
    )


def fitting_networks(weights: Weights, classes: int) -> list[str]:
    """Return the built-in networks whose keys and shapes are those of the weights."""
    found = []
    for name in models.network_names():
        with torch.device("meta"):
            own = models.network_factory(name)(classes).state_dict()
        if any(not Candidate("", renamed).problems(own) for _, renamed in _unwrapped(weights, own)):
            found.append(name)
    return found


def _require_plain(file: Path, key: str, value: Tensor) -> None:
    kind = "sparse" if value.layout != torch.strided else None
    kind = "quantised" if value.is_quantized else kind
    kind = "without values (on the meta device)" if value.is_meta else kind
    kind = "of complex numbers" if value.is_complex() else kind
    if kind:
        raise UserError(f"{file}: {key} is {kind}; save the weights as plain tensors")


def _remarks(chosen: Candidate, others: Sequence[Candidate]) -> Iterator[str]:
    def described(candidate: Candidate) -> str:
        kind = "averaged weights" if candidate.averaged else "weights"
        return f"the {kind} {f'under {candidate.name}' if candidate.name else 'at its top'}"

    for other in others:
        how = f"`--weights {other.name}` takes" if other.name else '`--weights ""` takes'
        yield f"took {described(chosen)}; {how} {described(other)}"
