"""Hyperparameters that come into force during a run."""

from __future__ import annotations

__all__ = ["ramped"]


def ramped(value: float, step: int, start: int, ramp: int = 0) -> float:
    """A value that is 0 for some optimizer steps and then rises, linearly, to what it is.

    Args:
        value: the full value.
        step: optimizer steps taken so far.
        start: steps for which it is 0.
        ramp: steps over which it then rises; 0 is at once.
    """
    if step < start:
        return 0.0
    return value if step >= start + ramp else value * (step - start + 1) / (ramp + 1)
