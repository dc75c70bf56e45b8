"""FitNets: a hint from the teacher's middle layer first, then distillation of the whole network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.normalise import Norm
from methods.blocks.pairing import MapShape, beyond_regression, regression
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class FitNets(Method):
    """Hint phase up to the guided stage, then CE + lambda H(p_t, p_s) with lambda annealed.

    Preset crd: one phase, CE + 100 times the hint's mean squared error.
    """

    name = "fitnets"
    version = 1
    paper = Paper(
        "Romero, Ballas, Ebrahimi Kahou, Chassang, Gatta and Bengio",
        "FitNets: Hints for Thin Deep Nets",
        "ICLR",
        2015,
    )

    @dataclass(frozen=True)
    class Config:
        """The values of appendix A.1; the middle stages are those of sec. 2.2."""

        hint: int | None = None
        """Index of the teacher's stage that is imitated; None is the middle one."""
        guided: int | None = None
        """Index of the student's stage that imitates it; None is the middle one."""
        regressor: Literal["unpadded", "regression"] = "unpadded"
        """That of sec. 2.2, or the CRD benchmark's, which is there for equal shapes too."""
        distance: Literal["half_sum", "mean"] = "half_sum"
        """Half the square summed over channels, or its mean over channels; mean over the rest."""
        hint_weight: float = 1.0
        view: View = "stages"
        """Which maps are read: ours, or the CRD benchmark's, which are others on wide ResNets."""
        order: Literal["hint_first", "joint"] = "hint_first"
        """The hint in a phase of its own, or beside the other losses all the time."""
        temperature: float = 3.0
        lambda_start: float = 4.0
        """Weight of the teacher's soft targets; without them where it begins and ends at 0."""
        lambda_end: float = 1.0
        init_share: float = 0.125
        """How much of the budget the hint phase gets: 30 of 240 epochs."""

        def __post_init__(self) -> None:
            if any(stage is not None and stage < 0 for stage in (self.hint, self.guided)):
                raise ValueError("hint and guided count stages from 0")
            if not self.temperature > 0:
                raise ValueError(f"temperature must be positive, not {self.temperature}")
            if not (self.lambda_start >= 0 and self.lambda_end >= 0):
                raise ValueError("lambda_start and lambda_end must not be negative")
            if not 0 < self.init_share < 1:
                raise ValueError(f"init_share must lie between 0 and 1, not {self.init_share}")
            if not self.hint_weight > 0:
                raise ValueError(f"hint_weight must be positive, not {self.hint_weight}")
            if self.regressor not in ("unpadded", "regression"):
                raise ValueError(f"regressor must be unpadded or regression, not {self.regressor}")
            if self.distance not in ("half_sum", "mean"):
                raise ValueError(f"distance must be half_sum or mean, not {self.distance}")
            if self.order not in ("hint_first", "joint"):
                raise ValueError(f"order must be hint_first or joint, not {self.order}")
            if self.view not in get_args(View):
                raise ValueError(f"view must be stages or crd, not {self.view}")
            if self.order == "joint" and self.init_share != type(self).init_share:
                raise ValueError("init_share has no effect where order is joint")
            if not self.soft and self.temperature != type(self).temperature:
                raise ValueError("temperature has no effect where lambda begins and ends at 0")

        @property
        def soft(self) -> bool:
            """Whether the teacher's soft targets are read."""
            return self.lambda_start > 0 or self.lambda_end > 0

    config: Config
    presets: ClassVar[Mapping[str, Any]] = {
        "crd": Config(
            hint=1,
            guided=1,
            regressor="regression",
            distance="mean",
            hint_weight=100.0,
            view="crd",
            order="joint",
            lambda_start=0.0,
            lambda_end=0.0,
        )
    }

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        """Both networks must have the stage that is asked for, at sizes that can be met."""
        for who, stage, shapes in (
            ("student", config.guided, student),
            ("teacher", config.hint, teacher),
        ):
            if stage is not None and stage >= len(shapes.stages):
                return f"no stage {stage} in the {who}, which has {len(shapes.stages)}"
        if config.regressor == "regression":
            guided, hint = _stages(config, student, teacher)
            return beyond_regression(student.stages[guided], teacher.stages[hint])
        return None

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.guided, self.hint = _stages(config, student, teacher)
        make = regressor if config.regressor == "unpadded" else regression_regressor
        self.regressor = make(student.stages[self.guided], teacher.stages[self.hint])

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Sec. 2.3, algorithm 1: line 4, then line 6; or both at once."""
        if self.config.order == "joint":
            return [Phase("distill", budget.epochs, self._joint)]
        hint, distill = budget.split(self.config.init_share)
        return [
            Phase("hint", hint, self._hint, lr="constant"),
            Phase("distill", distill, self._distill, reads_teacher=self.config.soft),
        ]

    def _joint(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        return {**self._distill(student, teacher, batch), **self._hint(student, teacher, batch)}

    def _hint(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        seen, shown = student.viewed(self.config.view), teacher.viewed(self.config.view)
        predicted = self.regressor(seen.stages[self.guided])
        distance = hint_loss if self.config.distance == "half_sum" else F.mse_loss
        return {"hint": self.config.hint_weight * distance(predicted, shown.stages[self.hint])}

    def _distill(self, student: Features, teacher: Features, batch: Batch) -> Losses:
        losses = {"ce": F.cross_entropy(student.logits, batch.labels)}
        if self.config.soft:
            start, end = self.config.lambda_start, self.config.lambda_end
            weight = start + (end - start) * batch.progress
            soft = soft_cross_entropy(student.logits, teacher.logits, self.config.temperature)
            losses["kd"] = weight * soft
        return losses


def hint_loss(predicted: Tensor, hint: Tensor) -> Tensor:
    """Eq. 3, half the squared distance: (B, C, H, W) twice -> scalar.

    Summed over channels, mean over positions and the batch, as the authors' code does.
    """
    return 0.5 * (predicted - hint).square().sum(dim=1).mean()


def soft_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float
) -> Tensor:
    """H(p_t, p_s) of the softmax at ``temperature``, eq. 2: (B, K) twice -> scalar, mean over B.

    The paper has no factor T^2.
    """
    return F.cross_entropy(
        student_logits / temperature, F.softmax(teacher_logits / temperature, dim=1)
    )


def regressor(guided: MapShape, hint: MapShape) -> nn.Module:
    """Sec. 2.2: a convolution without padding whose kernel fits the sizes, then the hint's ReLU.

    Nothing where the shapes agree. A map smaller than the hint is first enlarged to its size.
    """
    if guided == hint:
        return nn.Identity()
    (channels, *size), (hint_channels, *hint_size) = guided, hint
    height, width = (max(pair) for pair in zip(size, hint_size, strict=True))
    kernel = height - hint_size[0] + 1, width - hint_size[1] + 1
    return nn.Sequential(
        nn.Identity() if size == [height, width] else nn.Upsample((height, width)),
        nn.Conv2d(channels, hint_channels, kernel, bias=False),
        # In place of the authors' bound on the kernel's norm: without it units die at these rates.
        Norm(hint_channels),
        nn.ReLU(),
    )


def regression_regressor(guided: MapShape, hint: MapShape) -> nn.Module:
    """The CRD benchmark's regressor: its convolution and BN, then ReLU; for equal shapes too."""
    return nn.Sequential(*regression(guided, hint), nn.ReLU())


def _stages(config: FitNets.Config, student: Shapes, teacher: Shapes) -> tuple[int, int]:
    """Indices of the guided and of the hint stage."""
    guided = _middle(student) if config.guided is None else config.guided
    return guided, _middle(teacher) if config.hint is None else config.hint


def _middle(shapes: Shapes) -> int:
    return len(shapes.stages) // 2
