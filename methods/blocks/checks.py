"""Checks of a ``Config``'s numbers, for its ``__post_init__``. Each raises ValueError.

A word that is none of a ``Literal``'s needs no check here: it is refused when the suite is read.
"""

from typing import Any


def require_positive(config: Any, *fields: str) -> None:  # noqa: ANN401
    for field in fields:
        if not getattr(config, field) > 0:
            raise ValueError(f"{field} must be positive, not {getattr(config, field)}")


def require_non_negative(config: Any, *fields: str) -> None:  # noqa: ANN401
    for field in fields:
        if not getattr(config, field) >= 0:
            raise ValueError(f"{field} must not be negative, not {getattr(config, field)}")


def require_within(interval: str, config: Any, *fields: str) -> None:  # noqa: ANN401
    """Require values in an interval in mathematical notation: "(0, 1]" is 0 < value <= 1."""
    low, high = map(float, interval[1:-1].split(","))
    for field in fields:
        value = getattr(config, field)
        above = value >= low if interval.startswith("[") else value > low
        below = value <= high if interval.endswith("]") else value < high
        if not (above and below):
            raise ValueError(f"{field} must lie in {interval}, not {value}")
