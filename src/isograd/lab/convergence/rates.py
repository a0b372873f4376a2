"""The descents in weight space: without noise, with mini-batches, at each rank, and from afar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from torch import Tensor

from isograd.lab.convergence.descent import Curves, descend, linear_rate, power_rate
from isograd.lab.convergence.problems import Problem
from isograd.lab.convergence.rules import NORMALIZATIONS, Arm
from isograd.lab.records import Findings, Tick

__all__ = [
    "BATCH",
    "DISTANCES",
    "DRAWN",
    "EXACT",
    "NOISY",
    "RANKED",
    "RANKS",
    "TAUS",
    "exact",
    "from_afar",
    "noisy",
    "ranks",
]

TAUS: Final = (0.3, 1.0, 3.0, 10.0)
RANKS: Final = (None, 4, 2, 1)
DISTANCES: Final = (1.0, 2.0, 4.0)
BATCH: Final = 4

EXACT: Final = (
    Arm("SGD"),
    *(Arm(f"{name}, tau {tau:g}", tau, name) for name in NORMALIZATIONS for tau in TAUS),
    *(Arm(f"shuffled, tau {tau:g}", tau, source="shuffled") for tau in TAUS),
)
"""Without noise. "shuffled" has the values of "mean_square"."""

DRAWN: Final = (
    "SGD",
    "mean_square, tau 1",
    "mean_square, tau 3",
    "mean_squared, tau 1",
    "layer_mean, tau 1",
    "none, tau 1",
    "shuffled, tau 3",
)
"""Of these, whose curves are kept."""

NOISY: Final = (
    Arm("SGD"),
    *(Arm(f"mean_square, tau {tau:g}", tau) for tau in (1.0, 3.0)),
    *(Arm(f"{name}, tau 1", 1.0, name) for name in NORMALIZATIONS[1:]),
    Arm("shuffled, tau 3", 3.0, source="shuffled"),
    Arm("running, tau 3", 3.0, source="running"),
    *(Arm(f"other batch, tau {tau:g}", tau, source="other") for tau in (1.0, 3.0)),
)
"""With mini-batches. All that have a source other than their own gradients have the normalization "mean_square"."""

RANKED: Final = tuple(
    Arm(f"tau {tau:g}, rank {rank or 'full'}", tau, rank=rank) for tau in (0.0, 1.0, 3.0) for rank in RANKS
)
"""The first is SGD."""


def _decades(values: Tensor) -> Tensor:
    return values.clamp(min=1e-30).log10()


def _record(
    findings: Findings,
    experiment: str,
    problem: Problem,
    arms: Sequence[Arm],
    curves: Curves,
    *,
    at: float | None = None,
    drawn: Sequence[str] = (),
) -> None:
    """``power``; ``end`` (log10 of the squared gradient at the end); the lowest ``mask`` and ``descent``; ``rises``.

    ``rises`` is the share of neighboring measurements between which the loss went up by more than rounding.
    """
    seeds = range(len(problem.start))
    for place, arm in enumerate(arms):
        values = [curves.gradient[seed, place].tolist() for seed in seeds]
        loss = curves.loss[:, place]
        up = (loss.diff() > 1e-12 * loss[:, :1]).double().mean(-1)
        measures = {
            "power": [power_rate(curves.steps, each) for each in values],
            "end": _decades(curves.gradient[:, place, -1]).tolist(),
            "mask": curves.mask[:, place].amin(-1).tolist(),
            "descent": curves.descent[:, place].amin(-1).tolist(),
            "rises": up.tolist(),
        }
        for measure, found in measures.items():
            findings.add(experiment, problem.name, arm.label, measure, found, at=at)
        if arm.label in drawn:
            logs = _decades(curves.gradient[:, place]).tolist()
            findings.line(experiment, problem.name, arm.label, "gradient", curves.steps, logs)


def _linear(findings: Findings, experiment: str, problem: Problem, arms: Sequence[Arm], curves: Curves) -> None:
    """``linear``, and that over the first arm's (``over SGD``).

    With "mean_square" also over what is guaranteed for L (``over guaranteed``), and over the rate of SGD with its step
    times exp(-tau) (``over uniform``).
    """
    if problem.convexity is None:
        return
    ratio = (problem.convexity / problem.smoothness).tolist()
    base = [linear_rate(curves.steps, each.tolist()) for each in curves.gradient[:, 0]]
    for place, arm in enumerate(arms):
        found = [linear_rate(curves.steps, each.tolist()) for each in curves.gradient[:, place]]
        findings.add(experiment, problem.name, arm.label, "linear", found)
        over = [rate / sgd for rate, sgd in zip(found, base, strict=True)]
        findings.add(experiment, problem.name, arm.label, "over SGD", over)
        if arm.normalization != "mean_square" or arm.rank is not None:
            continue
        least = [math.log1p(-math.exp(-arm.tau) * each) for each in ratio]
        for measure, factor in (("over guaranteed", -1), ("over uniform", -2)):
            values = [rate / (factor * each) for rate, each in zip(found, least, strict=True)]
            findings.add(experiment, problem.name, arm.label, measure, values)


def exact(problems: Sequence[Problem], seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Experiment ``exact``: all rows in every step, step size 1 / smoothness."""
    for problem in problems:
        curves = descend(problem, EXACT, seeds, steps, tick=tick)
        _record(findings, "exact", problem, EXACT, curves, drawn=DRAWN)
        _linear(findings, "exact", problem, EXACT, curves)


def noisy(problems: Sequence[Problem], seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Experiment ``noisy``: mini-batches, step size 1 / (2 smoothness) that falls as 1 / sqrt(t).

    ``averaged``: log10 of the squared gradient at the mean of the last half of the iterates; ``averaged - other``:
    that, less that of the same tau with the mask from another batch, paired by seed.
    """
    labels = [arm.label for arm in NOISY]
    for problem in problems:
        curves = descend(problem, NOISY, seeds, steps, batch=BATCH, rate=0.5, tick=tick)
        _record(findings, "noisy", problem, NOISY, curves, drawn=labels)
        averaged = _decades(curves.averaged)
        for place, arm in enumerate(NOISY):
            findings.add("noisy", problem.name, arm.label, "averaged", averaged[:, place].tolist())
            twin = f"other batch, tau {arm.tau:g}"
            if arm.tau and arm.normalization == "mean_square" and arm.label != twin:
                other = averaged[:, labels.index(twin)]
                findings.add(
                    "noisy", problem.name, arm.label, "averaged - other", (averaged[:, place] - other).tolist()
                )


def ranks(problems: Sequence[Problem], seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Experiment ``ranks``: the masked gradient, truncated, as a step of W; no noise."""
    for problem in problems:
        curves = descend(problem, RANKED, seeds, steps, tick=tick)
        _record(findings, "ranks", problem, RANKED, curves)
        _linear(findings, "ranks", problem, RANKED, curves)


def from_afar(problem: Problem, seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Experiment ``afar``, ``at`` a factor on the start: domains disagree the more, the farther away."""
    arms = [arm for arm in EXACT if arm.tau in (0.0, 1.0) and arm.source == "own"]
    for distance in DISTANCES:
        curves = descend(replace(problem, start=distance * problem.start), arms, seeds, steps, tick=tick)
        _record(findings, "afar", problem, arms, curves, at=distance)
