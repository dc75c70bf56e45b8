"""The numerics profiles: what decides a run's bits besides its configuration and the code.

`strict` is the reference. `fast` gives bits up for time, where the accuracies should not move. Both
have convolutions in channels_last and no `torch.compile`; where they differ is said here.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import NamedTuple

import torch

from benchmark.config.recipe import Numerics


class Profile(NamedTuple):
    """What a profile means."""

    threads: int
    """Of a process on a CPU. One in both: jobs fill the cores, each a process with one thread."""
    deterministic: bool
    """Deterministic kernels alone, and memory that is not yet written is filled."""
    tf32: bool
    """Convolutions in TF32 on a GPU. Matrix products never: losses compare samples by them."""
    autotuned: bool
    """cuDNN takes the kernels that are fastest just then: a run that is resumed may get others."""
    folded: bool
    """The frozen teacher's batch norms are folded into its convolutions."""
    narrow: torch.dtype | None
    """What networks compute in on a CUDA GPU, by autocast; losses and connectors are in float32.

    Never on a CPU, where bfloat16 without AMX or AVX-512 was 34 times slower.
    """


PROFILES: MappingProxyType[Numerics, Profile] = MappingProxyType(
    {
        "strict": Profile(
            threads=1,
            deterministic=True,
            tf32=False,
            autotuned=False,
            folded=False,
            narrow=None,
        ),
        "fast": Profile(
            threads=1,
            deterministic=False,
            tf32=True,
            autotuned=True,
            folded=True,
            narrow=torch.bfloat16,
        ),
    }
)


def adopt(numerics: Numerics) -> None:
    """Compute by a profile from now on, whatever this process has computed by before."""
    profile = PROFILES[numerics]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(profile.threads)
    # `torch.use_deterministic_algorithms(..., warn_only=True)`, which also loads torch's compiler.
    torch.set_deterministic_debug_mode("warn" if profile.deterministic else "default")
    # Nothing here reads what it has not written; to fill it costs some percent of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = profile.autotuned
    torch.backends.cudnn.allow_tf32 = profile.tf32
    torch.backends.cuda.matmul.allow_tf32 = False


def precision(numerics: Numerics, device: torch.device) -> torch.dtype | None:
    """Return what networks compute in on a device under autocast; None: in float32, without."""
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return PROFILES[numerics].narrow
