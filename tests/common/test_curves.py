"""Numbers of a curve."""

from __future__ import annotations

import math

import pytest

from isograd.common.curves import jitter, steps_to_threshold, trailing_mean


def test_jitter_is_the_mean_squared_second_difference() -> None:
    assert jitter([0, 1, 0, 1]) == 4
    assert jitter([0, 1, 2, 3]) == 0
    assert math.isnan(jitter([1, 2]))


def test_the_first_step_at_a_threshold() -> None:
    assert steps_to_threshold([10, 20, 30], [0.1, 0.5, 0.4], 0.5) == 20
    assert steps_to_threshold([10, 20], [0.1, 0.2], 0.5) is None


def test_trailing_means_have_less_to_average_at_the_beginning() -> None:
    assert trailing_mean([1.0, 2.0, 6.0, 4.0], 3) == pytest.approx([1.0, 1.5, 3.0, 4.0])
    assert trailing_mean([], 3) == []
