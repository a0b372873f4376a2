"""What the log of a reinforcement-learning run says."""

from __future__ import annotations

from typing import Any

import pytest

from isograd.report.learning import learning_values
from isograd.report.runs import Run, _Metrics

REWARDS = [0.1, 0.2, 0.6, 0.7, 0.8, 0.9, 0.9, 0.8, 1.0, 1.0]


def run(rows: list[dict[str, float]], **fields: Any) -> Run:
    base = {"format": 1, "name": "a", "label": "GRPO", "seed": 0, "status": "finished"}
    return Run.model_validate({**base, **fields}).model_copy(
        update={"training": tuple(rows), "metrics": _Metrics(format=2, splits={})}
    )


def logged() -> list[dict[str, float]]:
    """A generation every second step; rewards are logged there alone."""
    rows: list[dict[str, float]] = []
    for number, reward in enumerate(REWARDS):
        rows.append({"step": 2 * number + 1, "reward": reward, "entropy": 1 - number / 10, "outside/below": 0.25})
        rows.append({"step": 2 * number + 2, "entropy": 1 - number / 10, "outside/above": 0.5})
    return rows


def value(key: str, rows: list[dict[str, float]], threshold: float = 0.75, **fields: Any) -> float | None:
    return learning_values(threshold)[key][1](run(rows, **fields))


def test_the_end_is_the_last_fifth() -> None:
    assert value("reward_end", logged()) == 1.0
    assert value("entropy_end", logged()) == pytest.approx((0.2 + 0.2 + 0.1 + 0.1) / 4)
    assert value("reward_mean", logged()) == pytest.approx(sum(REWARDS) / 10)


def test_the_threshold_is_held_against_three_generations() -> None:
    # Means of three: .1 .15 .3 .5 .7 .8: the sixth generation, which began at step 11.
    assert value("steps_to_threshold", logged()) == 11
    assert value("steps_to_threshold", logged(), threshold=1.0) == 20


def test_ratios_out_of_range_are_added() -> None:
    assert value("outside", logged()) == 0.75


def test_what_was_not_logged_is_unknown() -> None:
    for key, (_, read) in learning_values(0.5).items():
        assert read(run([{"step": 1, "loss": 0.5}])) is None, key
    assert value("jitter", logged()[:3]) is None
    assert value("reward_end", logged(), status="failed") is None
