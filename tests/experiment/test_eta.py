"""The time left, from the progress of all jobs."""

from __future__ import annotations

import pytest

from isograd.experiment.eta import TRAINING_SHARE, TimeLeft


def test_nothing_is_known_before_anything_is_done() -> None:
    assert TimeLeft([True, True]).seconds(10.0) is None


def test_the_rest_takes_as_long_as_what_was_done() -> None:
    left = TimeLeft([True, True])
    left.step(0, "train", 1, 10)
    left.step(0, "train", 10, 10)
    # 0.8 of 2 jobs took 8 seconds; 1.2 are left.
    assert left.seconds(8.0) == pytest.approx(12.0)
    left.step(0, "evaluate", 5, 10)
    assert left.seconds(9.0) == pytest.approx(9.0 * 1.1 / 0.9)
    left.end(0)
    left.end(1)
    assert left.seconds(20.0) == 0.0


def test_what_was_done_before_says_nothing_about_the_speed() -> None:
    left = TimeLeft([True, True, True])
    left.end(0)  # reused
    assert left.seconds(5.0) is None
    left.step(1, "train", 6, 10)  # resumed after step 5
    assert left.seconds(10.0) == pytest.approx(10.0 * (1 + 1 - 0.6 * TRAINING_SHARE) / (0.1 * TRAINING_SHARE))
    left.step(2, "evaluate", 5, 10)  # trained before
    done = 0.1 * TRAINING_SHARE + 0.5 * (1 - TRAINING_SHARE)
    rest = (1 - 0.6 * TRAINING_SHARE) + 0.5 * (1 - TRAINING_SHARE)
    assert left.seconds(10.0) == pytest.approx(10.0 * rest / done)


def test_a_job_that_fails_leaves_nothing_to_do_and_has_done_no_more_than_it_told() -> None:
    left = TimeLeft([True] * 100)
    for job in range(10):
        left.end(job, done=False)  # at once
    assert left.seconds(50.0) is None
    for job in range(10, 20):
        left.end(job)  # reused: says nothing about the speed
    left.step(20, "train", 1, 10)
    left.step(20, "evaluate", 10, 10)
    left.end(20)
    assert left.seconds(30.0) == pytest.approx(79 * 30.0)
    # Half of a job was done, in the time of half a job, before it failed.
    left.step(21, "train", 1, 8)
    left.step(21, "train", 5, 8)
    left.end(21, done=False)
    assert left.seconds(45.0) == pytest.approx(78 * 30.0)


def test_a_job_that_only_measures() -> None:
    left = TimeLeft([False])
    left.step(0, "evaluate", 25, 100)
    assert left.seconds(4.0) == pytest.approx(12.0)
