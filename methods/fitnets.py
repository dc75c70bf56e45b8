"""FitNets: regress the teacher's middle stage, then distil the logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.checks import require_non_negative, require_positive, require_within
from methods.blocks.normalise import Norm
from methods.blocks.pairing import MapShape, conv_regressor, conv_regressor_mismatch
from methods.interface import Batch, Budget, Features, Losses, Method, Paper, Phase, Shapes, View


class FitNets(Method):
    """Hint loss up to the guided stage, then CE + lambda H(p_t, p_s) with lambda annealed.

    Preset ``crd``: one phase, CE + 100 times the hint's mean squared error.
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
        """Defaults: appendix A.1; the middle stages are those of sec. 2.2."""

        hint: int | None = None
        """Index of the teacher's hint stage; None: the middle one."""
        guided: int | None = None
        """Index of the student's guided stage; None: the middle one."""
        regressor: Literal["unpadded", "regression"] = "unpadded"
        """``unpadded``: sec. 2.2. ``regression``: the CRD benchmark's, also for equal shapes."""
        distance: Literal["half_sum", "mean"] = "half_sum"
        """Squared error over channels: half its sum, or its mean; the mean over all other axes."""
        hint_weight: float = 1.0
        view: View = "stages"
        """Whose feature maps are read, see ``methods.interface.View``."""
        order: Literal["hint_first", "joint"] = "hint_first"
        """The hint loss has its own first phase, or is added to the other losses throughout."""
        temperature: float = 3.0
        lambda_start: float = 4.0
        """Initial weight of the soft targets. They are not computed if both weights are 0."""
        lambda_end: float = 1.0
        init_share: float = 0.125
        """Share of the epochs that the first phase gets: 30 of 240."""

        def __post_init__(self) -> None:
            require_positive(self, "temperature", "hint_weight")
            require_non_negative(self, "lambda_start", "lambda_end")
            require_within("(0, 1)", self, "init_share")
            if any(stage is not None and stage < 0 for stage in (self.hint, self.guided)):
                raise ValueError("hint and guided count stages from 0")
            if self.order == "joint" and self.init_share != type(self).init_share:
                raise ValueError("init_share has no effect where order is joint")
            if not self.soft and self.temperature != type(self).temperature:
                raise ValueError("temperature has no effect where lambda begins and ends at 0")

        @property
        def soft(self) -> bool:
            return self.lambda_start > 0 or self.lambda_end > 0

    config: Config
    presets = MappingProxyType(
        {
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
    )

    @classmethod
    def mismatch(cls, config: Config, student: Shapes, teacher: Shapes) -> str | None:
        stages = ("student", config.guided, student), ("teacher", config.hint, teacher)
        for who, stage, shapes in stages:
            if stage is not None and stage >= len(shapes.stages):
                return f"no stage {stage} in the {who}, which has {len(shapes.stages)}"
        if config.regressor == "regression":
            guided, hint = _stage_indices(config, student, teacher)
            return conv_regressor_mismatch(student.stages[guided], teacher.stages[hint])
        return None

    def __init__(self, config: Config, student: Shapes, teacher: Shapes) -> None:
        super().__init__(config, student, teacher)
        self.guided, self.hint = _stage_indices(config, student, teacher)
        make = regressor if config.regressor == "unpadded" else crd_regressor
        self.regressor = make(student.stages[self.guided], teacher.stages[self.hint])

    def phases(self, budget: Budget) -> Sequence[Phase]:
        """Algorithm 1, lines 4 and 6; with ``joint`` in one phase."""
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
        view = self.config.view
        predicted = self.regressor(student.viewed(view).stages[self.guided])
        hint = teacher.viewed(view).stages[self.hint]
        distance = hint_loss if self.config.distance == "half_sum" else F.mse_loss
        return {"hint": self.config.hint_weight * distance(predicted, hint)}

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

    Sum over channels, mean over positions and the batch (authors' code).
    """
    return 0.5 * (predicted - hint).square().sum(dim=1).mean()


def soft_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float
) -> Tensor:
    """H(p_t, p_s) at ``temperature``, eq. 2, without a factor T^2: (B, K) twice -> scalar."""
    return F.cross_entropy(
        student_logits / temperature, F.softmax(teacher_logits / temperature, dim=1)
    )


def regressor(guided: MapShape, hint: MapShape) -> nn.Module:
    """Sec. 2.2: a convolution without padding whose kernel fits the sizes, then ReLU.

    The identity if the shapes are equal. A map smaller than the hint is upsampled first.
    """
    if guided == hint:
        return nn.Identity()
    (channels, *size), (hint_channels, *hint_size) = guided, hint
    height, width = (max(pair) for pair in zip(size, hint_size, strict=True))
    kernel = height - hint_size[0] + 1, width - hint_size[1] + 1
    return nn.Sequential(
        nn.Identity() if size == [height, width] else nn.Upsample((height, width)),
        nn.Conv2d(channels, hint_channels, kernel, bias=False),
        # Replaces the authors' bound on the kernel's norm; without either, units die.
        Norm(hint_channels),
        nn.ReLU(),
    )


def crd_regressor(guided: MapShape, hint: MapShape) -> nn.Module:
    """The CRD benchmark's regressor: convolution, BN and ReLU, also for equal shapes."""
    return nn.Sequential(*conv_regressor(guided, hint), nn.ReLU())


def _stage_indices(config: FitNets.Config, student: Shapes, teacher: Shapes) -> tuple[int, int]:
    guided = _middle_stage(student) if config.guided is None else config.guided
    return guided, _middle_stage(teacher) if config.hint is None else config.hint


def _middle_stage(shapes: Shapes) -> int:
    return len(shapes.stages) // 2
