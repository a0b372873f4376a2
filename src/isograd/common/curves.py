"""What a curve over training says in one number."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["jitter", "steps_to_threshold", "trailing_mean"]


def jitter(values: Sequence[float]) -> float:
    """Mean squared second difference of a metric's curve (arXiv 2604.13088); NaN for fewer than three values."""
    bends = [after - 2 * here + before for before, here, after in zip(values, values[1:], values[2:], strict=False)]
    return sum(bend * bend for bend in bends) / len(bends) if bends else float("nan")


def steps_to_threshold(steps: Sequence[int], values: Sequence[float], threshold: float) -> int | None:
    """The first step from which a metric is at least ``threshold``; None if it never is."""
    return next((step for step, value in zip(steps, values, strict=True) if value >= threshold), None)


def trailing_mean(values: Sequence[float], width: int) -> list[float]:
    """At each place the mean of the last ``width`` values; of fewer at the beginning."""
    parts = [values[max(end - width, 0) : end] for end in range(1, len(values) + 1)]
    return [sum(part) / len(part) for part in parts]
