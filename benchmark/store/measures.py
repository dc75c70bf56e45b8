"""The part of a record that says how good a network is besides its accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Percent = Annotated[float, Field(ge=0, le=100)]
Score = Annotated[float, Field(ge=-1e100, le=1e100)]
"""Any other number. The bound leaves means and pictures of any number of them finite."""


@dataclass(frozen=True)
class CalibrationScores:
    """How well predicted probabilities fit the labels. Lower is better in each."""

    ece: Percent
    """Expected calibration error of the top-1 confidence, 15 bins of equal width, percent."""
    nll: Score
    """Negative log-likelihood, nats."""
    brier: Score
    """Mean squared distance to the label's unit vector over all classes: 0 to 2 (Brier, 1950)."""


@dataclass(frozen=True)
class Calibration(CalibrationScores):
    """The scores as trained, and after temperature scaling."""

    temperature: Score
    """Fitted to all test images; above 1 the network is overconfident."""
    scaled: CalibrationScores
    """Each half of the test images at the temperature fitted to the other half."""


@dataclass(frozen=True)
class Fidelity:
    """How often and how closely student and teacher agree on the test images."""

    agreement: Percent
    """Images with the same top-1 class."""
    kl: Score | None
    """Mean of KL(teacher || student), nats; None where only predicted classes are known."""
    error_agreement: Percent | None
    """Agreement on the images that the teacher gets wrong; None where there are none."""


@dataclass(frozen=True)
class Measures:
    """What is measured of a finished network besides its accuracy."""

    calibration: Calibration
    fidelity: Fidelity | None = None
    """None without a teacher."""
    cka: Mapping[str, Score] | None = None
    """Linear CKA with the teacher, by layer: stem, stage 1 to n, embedding."""
