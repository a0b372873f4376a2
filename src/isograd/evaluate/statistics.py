"""Intervals that do not claim more than the data: cluster bootstrap, paired differences, Wilson.

The members of one isomer set share a reasoning graph, so their answers stand or fall together. Treating them as
independent makes intervals too narrow; the bootstrap here resamples whole clusters (graphs, or seeds) instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isograd.common.errors import UserError
from isograd.common.seeding import derive_seed

__all__ = ["PairedDifference", "bootstrap_interval", "paired_difference", "wilson_interval"]

# Bounds the table of drawn cluster indices: about 32 MB at a time, whatever the number of clusters.
_DRAWS_AT_ONCE = 4_000_000


class PairedDifference(NamedTuple):
    """The mean of ``a - b`` over pairs and its bootstrap interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: Sequence[float],
    *,
    clusters: Sequence[int | str] | None = None,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Without clusters, single values are resampled. With clusters, whole clusters are resampled with replacement and the
    mean is taken over all values drawn, so large clusters weigh more, as they do in the plain mean. When every
    value is equal, the interval has zero width: for a rate of exactly 0 or 1 use :func:`wilson_interval`.

    Args:
        values: n finite numbers.
        clusters: n cluster names, one per value, for example isomer set ids; None makes each value its own cluster.
        level: the share of the bootstrap distribution inside the interval, in (0, 1).
        samples: the number of bootstrap resamples.
        seed: names the random stream; equal arguments give equal intervals.

    Returns:
        ``(low, high)`` in the unit of the values. ``(nan, nan)`` when there is only one cluster: nothing was
        repeated, so nothing can be said about the spread.

    Raises:
        UserError: no values, a value that is not finite, lengths that differ, or a level or sample count out of range.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters: Davison and Hinkley,
        Bootstrap Methods and their Application (1997), section 3.8.
    """
    data = _checked(values, "values")
    if not 0 < level < 1:
        raise UserError(f"level is {level}; an interval needs a level between 0 and 1, for example 0.95")
    if samples < 1:
        raise UserError(f"samples is {samples}; the bootstrap needs at least one resample, for example 2000")
    index = _cluster_index(clusters, len(data))
    sums = np.bincount(index, weights=data)
    sizes = np.bincount(index)
    n_clusters = len(sums)
    if n_clusters == 1:
        return (math.nan, math.nan)
    generator = np.random.default_rng(derive_seed("evaluate", "bootstrap", seed))
    means: list[NDArray[np.float64]] = []
    left = samples
    while left:
        rows = min(left, max(1, _DRAWS_AT_ONCE // n_clusters))
        drawn = generator.integers(n_clusters, size=(rows, n_clusters))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
        left -= rows
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return (float(low), float(high))


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    clusters: Sequence[int | str] | None = None,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Mean of ``a - b`` over pairs, with a (cluster) bootstrap interval of that mean.

    Pairs share what made both hard or easy (the same training seed, the same test item), so their difference has
    far less noise than the difference of two independent means.

    Args:
        a: n values of one method.
        b: n values of the other method, on the same seeds or items in the same order.
        clusters, level, samples, seed: as in :func:`bootstrap_interval`.

    Returns:
        The mean difference, positive when ``a`` is larger, and its interval; the bounds are nan with one cluster.

    Raises:
        UserError: the lengths differ, or as in :func:`bootstrap_interval`.
    """
    first, second = _checked(a, "a"), _checked(b, "b")
    if len(first) != len(second):
        raise UserError(f"a has {len(first)} values and b has {len(second)}; pair them on the same seeds or items")
    difference = first - second
    low, high = bootstrap_interval(difference.tolist(), clusters=clusters, level=level, samples=samples, seed=seed)
    return PairedDifference(float(difference.mean()), low, high)


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a rate, for n *independent* trials.

    It stays inside [0, 1] and keeps a sensible width at rates of 0 and 1, where the bootstrap collapses.

    Args:
        successes: how many of the trials succeeded, from 0 to n.
        n: the number of trials, at least 1.
        level: the coverage aimed at, in (0, 1).

    Returns:
        ``(low, high)`` as rates in [0, 1].

    Raises:
        UserError: the counts are impossible or the level is out of range.

    Source:
        Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if n < 1 or not 0 <= successes <= n:
        raise UserError(f"{successes} successes in {n} trials is impossible; need 0 <= successes <= n and n >= 1")
    if not 0 < level < 1:
        raise UserError(f"level is {level}; an interval needs a level between 0 and 1, for example 0.95")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    rate = successes / n
    center = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding may leave 1e-17 outside the range, or the rate just outside its own interval at 0 and 1.
    return (max(0.0, min(center - half, rate)), min(1.0, max(center + half, rate)))


def _checked(values: Sequence[float], name: str) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data):
        raise UserError(f"{name} has shape {data.shape}; give a flat, non-empty sequence of numbers")
    if not np.isfinite(data).all():
        place = int(np.flatnonzero(~np.isfinite(data))[0])
        raise UserError(f"{name}[{place}] is {data[place]}; drop or mend values that are not finite")
    return data


def _cluster_index(clusters: Sequence[int | str] | None, n: int) -> NDArray[np.intp]:
    """Each value's cluster as an integer, numbered by first appearance so that names play no role in the draws."""
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise UserError(f"clusters has {len(clusters)} entries for {n} values; give one cluster per value")
    numbers: dict[int | str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=np.intp)
