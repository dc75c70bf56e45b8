"""The numerics profiles, which affect a run's bits besides its configuration and the code.

`strict` is the reference. `fast` trades bitwise reproducibility for speed; accuracies should stay
the same. Both use channels_last and no `torch.compile`.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import NamedTuple

import torch

from benchmark.config.recipe import Numerics


class NumericsProfile(NamedTuple):
    """The settings of a profile."""

    threads: int
    """Threads of a process on a CPU. Both profiles use one, since jobs fill the cores."""
    deterministic: bool
    """Whether to use only deterministic kernels."""
    tf32: bool
    """Whether convolutions use TF32 on a GPU. Matrix products never do: losses use them."""
    autotuned: bool
    """Whether cuDNN measures which kernels are fastest. A resumed run may then get others."""
    folded: bool
    """Whether the frozen teacher's batch norms are folded into its convolutions."""
    narrow: torch.dtype | None
    """The autocast type of networks on a CUDA GPU; losses and connectors use float32.

    It is not used on a CPU: without AMX or AVX-512, bfloat16 was 34 times slower there.
    """


PROFILES: MappingProxyType[Numerics, NumericsProfile] = MappingProxyType(
    {
        "strict": NumericsProfile(
            threads=1,
            deterministic=True,
            tf32=False,
            autotuned=False,
            folded=False,
            narrow=None,
        ),
        "fast": NumericsProfile(
            threads=1,
            deterministic=False,
            tf32=True,
            autotuned=True,
            folded=True,
            narrow=torch.bfloat16,
        ),
    }
)


def apply_profile(numerics: Numerics) -> None:
    """Apply a profile to this process. It replaces a profile that was applied before."""
    profile = PROFILES[numerics]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(profile.threads)
    # `torch.use_deterministic_algorithms(..., warn_only=True)` would also load torch's compiler.
    torch.set_deterministic_debug_mode("warn" if profile.deterministic else "default")
    # Nothing here reads uninitialised memory, and filling it costs some percent of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = profile.autotuned
    torch.backends.cudnn.allow_tf32 = profile.tf32
    torch.backends.cuda.matmul.allow_tf32 = False


def autocast_dtype(numerics: Numerics, device: torch.device) -> torch.dtype | None:
    """Return the autocast type of networks on a device; None: float32 without autocast."""
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return PROFILES[numerics].narrow
