"""Checkpoints as other repositories publish them: read safely, fitted to a network."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.config.errors import UserError

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
WEIGHT_KEYS = ("model", "state_dict", "net", "student", "model_state_dict")
"""Keys under which a checkpoint may keep its weights, if not at the top level."""


def read_checkpoint(file: Path) -> Any:  # noqa: ANN401
    """Unpickle a checkpoint without running code that it may contain."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        with torch.serialization.safe_globals(SAFE_GLOBALS), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch warns of old formats, which are read all the same
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


def find_weights(content: Any, file: Path) -> dict[str, Tensor]:  # noqa: ANN401
    """Return the weights of a checkpoint, without the prefix `module.` that DataParallel leaves."""
    for place_ in (None, *WEIGHT_KEYS):
        found = content if place_ is None else isinstance(content, Mapping) and content.get(place_)
        if isinstance(found, Mapping) and found and all(map(torch.is_tensor, found.values())):
            return {str(name).removeprefix("module."): value for name, value in found.items()}
    keys = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
    raise UserError(
        f"{file}: no weights in it. They may stand at its top or under {', '.join(WEIGHT_KEYS)}; "
        f"it holds: {keys[:200]}"
    )


def network_with_weights(
    name: str, classes: int, weights: Mapping[str, Tensor], file: Path
) -> nn.Module:
    """Load weights into a network. Raises UserError that names the keys and shapes that differ."""
    network = models.build(name, classes, seed=0)
    own = network.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # missing in old files
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
