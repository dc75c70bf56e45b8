"""Operations of a forward pass and of a loss, counted by torch's own formulas.

Matrix products, convolutions and attention count, a multiplication and an addition as two; what is
done element by element does not, so a loss without any of those has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.cohort import Learner, NotRun
from methods.interface import Batch


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the operations below it, as ``torch.utils.flop_counter.FlopCounterMode`` does.

    That one loads torch's compiler, which takes a job more than a second.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Late, for it may load triton: no job need wait for that before it trains.
        from torch.utils.flop_counter import flop_registry

        self.formulas: dict[Any, Callable[..., int]] = flop_registry
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's word: to be skipped by the compiler, it would be loaded

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Count one operation."""
        out = func(*args, **(kwargs or {}))
        if formula := self.formulas.get(func.overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


@torch.no_grad()
def of_pass(network: nn.Module, images: Tensor) -> int:
    """Count one image's forward pass, of images (B, 3, H, W), in eval mode."""
    network.eval()
    with Counter() as counter:
        network(images)
    total: int = counter.total
    return total // len(images)


@torch.no_grad()
def of_loss(
    learner: Learner, teacher: nn.Module | None, images: Tensor, labels: Tensor
) -> int | None:
    """Count the last phase's loss for one image of (B, 3, H, W), connectors in it, forward only.

    A loss that compares the images of a batch has more with a larger one. It may change what its
    method keeps, so this comes after all else. None where it fails, as without gradients it may.
    """
    phase = learner.phase
    learner.student.eval()
    learner.method.eval()
    seen: Any = learner.student(images) if phase.reads_student else NotRun(phase, "student")
    shown: Any = NotRun(phase, "teacher")
    if teacher is not None and phase.reads_teacher:
        shown = teacher(images)
    places = torch.arange(len(images), device=images.device)
    batch = Batch(labels, places, torch.full((), 0.5, device=images.device))
    try:
        with Counter() as counter:
            phase.loss(seen, shown, batch)
    except Exception:  # noqa: BLE001  (a plug-in may raise anything; the run itself went well)
        return None
    total: int = counter.total
    return total // len(images)
