"""Bootstrap, paired and Wilson intervals: pinned values, what they must cover, and laws they must keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isograd.common.errors import UserError
from isograd.common.seeding import derive_seed
from isograd.evaluate.statistics import bootstrap_interval, paired_difference, wilson_interval

numbers = st.floats(-100, 100, allow_subnormal=False)
samples_of_numbers = st.lists(numbers, min_size=2, max_size=30)


def test_a_known_sample_gives_close_to_the_normal_interval() -> None:
    generator = np.random.default_rng(derive_seed("tests", "statistics", "normal"))
    values = generator.normal(3.0, 2.0, size=400)
    low, high = bootstrap_interval(values.tolist())
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_two_values_have_the_three_means_a_bootstrap_can_draw() -> None:
    # Resamples of {0, 1}: mean 0 with probability 1/4, 1/2 with 1/2, 1 with 1/4.
    assert bootstrap_interval([0.0, 1.0], level=0.95) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], level=0.4) == (0.5, 0.5)


def test_clusters_widen_the_interval_to_that_of_the_cluster_means() -> None:
    # 20 sets of 4 members that all answer alike carry the information of 20 answers, not 80.
    answers = [float(i % 3 == 0) for i in range(20)]
    members = [answer for answer in answers for _ in range(4)]
    sets = [f"set-{i}" for i in range(20) for _ in range(4)]
    assert bootstrap_interval(members, clusters=sets) == pytest.approx(bootstrap_interval(answers))
    narrow = np.diff(bootstrap_interval(members))[0]
    wide = np.diff(bootstrap_interval(members, clusters=sets))[0]
    assert wide == pytest.approx(2 * narrow, rel=0.15)


def test_large_clusters_weigh_by_their_size() -> None:
    # Cluster "a" holds three zeros, "b" one: a mixed resample has mean 1/4, not 1/2.
    assert bootstrap_interval([0, 0, 0, 1], clusters=["a", "a", "a", "b"], level=0.4) == (0.25, 0.25)


def test_cluster_intervals_cover_the_truth_and_plain_ones_do_not() -> None:
    generator = np.random.default_rng(derive_seed("tests", "statistics", "coverage"))
    sets = [i for i in range(40) for _ in range(4)]
    covered = {"clustered": 0, "plain": 0}
    trials = 200
    for trial in range(trials):
        values = (generator.random(40) < 0.7).astype(float).repeat(4).tolist()
        for name, clusters in (("clustered", sets), ("plain", None)):
            low, high = bootstrap_interval(values, clusters=clusters, samples=300, seed=trial)
            covered[name] += low <= 0.7 <= high
    assert 0.88 <= covered["clustered"] / trials <= 0.99
    assert covered["plain"] / trials < 0.8


def test_one_cluster_says_nothing_about_spread() -> None:
    assert all(math.isnan(bound) for bound in bootstrap_interval([1.0, 0.0], clusters=["a", "a"]))
    mean, low, high = paired_difference([1.0], [0.25])
    assert mean == 0.75
    assert math.isnan(low)
    assert math.isnan(high)


def test_many_clusters_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [float(i % 2) for i in range(100)]
    whole = bootstrap_interval(values, samples=400)
    monkeypatch.setattr("isograd.evaluate.statistics._DRAWS_AT_ONCE", 1000)
    assert bootstrap_interval(values, samples=400) == whole


def test_pairing_removes_what_both_share() -> None:
    hard = [0.1, 0.9, 0.4, 0.7, 0.2]
    easier = [value + 0.05 for value in hard]
    mean, low, high = paired_difference(easier, hard)
    assert (mean, low, high) == pytest.approx((0.05, 0.05, 0.05))


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    # Reference values: Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_matches_the_published_values(successes: int, n: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(successes, n) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bootstrap_interval([]), "non-empty"),
        (lambda: bootstrap_interval([1.0, math.nan]), r"values\[1\] is nan"),
        (lambda: bootstrap_interval([1.0, 2.0], clusters=["a"]), "one cluster per value"),
        (lambda: bootstrap_interval([1.0, 2.0], level=95), "level is 95"),
        (lambda: bootstrap_interval([1.0, 2.0], samples=0), "samples is 0"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), "same seeds"),
        (lambda: wilson_interval(3, 2), "3 successes in 2 trials"),
        (lambda: wilson_interval(0, 0), "impossible"),
        (lambda: wilson_interval(1, 2, level=0.0), "level is 0.0"),
    ],
)
def test_mistakes_are_named_in_one_line(call, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@given(values=samples_of_numbers, seed=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_bounds_are_ordered_inside_the_data_and_repeatable(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(values, samples=200, seed=seed)
    slack = 1e-9
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert bootstrap_interval(values, samples=200, seed=seed) == (low, high)


@given(values=samples_of_numbers, shift=numbers, scale=st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_units_do_not_matter(values: list[float], shift: float, scale: float) -> None:
    low, high = bootstrap_interval(values, samples=200)
    moved = bootstrap_interval([scale * value + shift for value in values], samples=200)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-6)


@given(values=samples_of_numbers, data=st.data())
@settings(max_examples=50, deadline=None)
def test_cluster_names_and_singleton_clusters_do_not_matter(values: list[float], data: st.DataObject) -> None:
    n = len(values)
    clusters = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    renamed = [f"set {cluster}" for cluster in clusters]
    left = bootstrap_interval(values, clusters=clusters, samples=100)
    assert bootstrap_interval(values, clusters=renamed, samples=100) == pytest.approx(left, nan_ok=True)
    assert bootstrap_interval(values, clusters=list(range(n)), samples=100) == bootstrap_interval(values, samples=100)


@given(values=samples_of_numbers)
@settings(max_examples=50, deadline=None)
def test_a_higher_level_contains_a_lower_one(values: list[float]) -> None:
    low, high = bootstrap_interval(values, level=0.8, samples=200)
    wider_low, wider_high = bootstrap_interval(values, level=0.95, samples=200)
    assert wider_low <= low
    assert high <= wider_high


@given(n=st.integers(1, 500), data=st.data(), level=st.floats(0.5, 0.999))
@settings(max_examples=100, deadline=None)
def test_wilson_holds_the_rate_and_mirrors(n: int, data: st.DataObject, level: float) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson_interval(successes, n, level=level)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high
    assert wilson_interval(n - successes, n, level=level) == pytest.approx((1 - high, 1 - low))
