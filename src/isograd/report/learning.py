"""What the training log of a reinforcement-learning run says, in numbers that tables can hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from isograd.common.curves import jitter, steps_to_threshold, trailing_mean
from isograd.report.runs import Run

__all__ = ["COUNTS", "SMOOTHED", "learning_values", "reinforced"]

SMOOTHED: Final = 3
"""Generations whose mean reward is held against the threshold."""
COUNTS: Final = ("tokens",)
"""Values that are whole numbers in every run."""
LAST: Final = 5
"""The end of training is its last fifth."""

Value = Callable[[Run], float | None]


def reinforced(run: Run) -> bool:
    """Whether the run logged rewards, as reinforcement learning does."""
    return any("reward" in row for row in run.training)


def learning_values(threshold: float | None) -> dict[str, tuple[str, Value]]:
    """By key: the title in tables, and the value of a run (None: not logged, no rewards, or the run has no scores).

    Args:
        threshold: the reward whose first step is counted; without one, no steps are.
    """
    steps: dict[str, tuple[str, Value]] = {}
    if threshold is not None:
        steps["steps_to_threshold"] = ("steps to threshold", lambda run: _steps(run, threshold))
    values: dict[str, tuple[str, Value]] = {
        "reward_end": ("reward at the end", lambda run: _mean(_end(_logged(run, "reward")))),
        "reward_mean": ("mean reward", lambda run: _mean(_logged(run, "reward"))),
        **steps,
        "jitter": ("jitter of the reward", lambda run: _known(jitter(_logged(run, "reward")))),
        "entropy_end": ("entropy at the end", lambda run: _mean(_end(_logged(run, "entropy")))),
        "residual": ("cancellation residual", lambda run: _mean(_logged(run, "cancellation/residual"))),
        "tax_norm": ("learning tax: norm", lambda run: _mean(_logged(run, "learning_tax/norm"))),
        "tax_kl": ("learning tax: KL", lambda run: _mean(_logged(run, "learning_tax/kl"))),
        "drift": ("drift of equals", lambda run: _mean(_logged(run, "drift"))),
        "outside": (
            "ratios out of range",
            lambda run: _sum(_mean(_logged(run, "outside/below")), _mean(_logged(run, "outside/above"))),
        ),
        # Logged as a sum over all steps so far.
        "tokens": ("tokens read and written", lambda run: max(_logged(run, "num_tokens"), default=None)),
    }
    return {key: (title, _if_reinforced(value)) for key, (title, value) in values.items()}


def _if_reinforced(value: Value) -> Value:
    # The log of a distillation has entropies and tokens too, but of texts that the student did not write.
    return lambda run: None if run.trouble or not reinforced(run) else value(run)


def _logged(run: Run, key: str) -> list[float]:
    """What was logged, in order; rewards are, at the steps that generate."""
    return [row[key] for row in run.training if key in row]


def _end(values: list[float]) -> list[float]:
    return values[-max(len(values) // LAST, 1) :]


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _steps(run: Run, threshold: float) -> float:
    steps = [int(row["step"]) for row in run.training if "reward" in row]
    reached = steps_to_threshold(steps, trailing_mean(_logged(run, "reward"), SMOOTHED), threshold)
    # A run that never gets there counts with all its steps: leaving it out would praise whoever fails.
    return float(run.training[-1]["step"] if reached is None else reached)
