"""Gradient descent of many arms and seeds at once, and the rates of what it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.lab.convergence.problems import DOMAINS, ROWS, Problem
from isograd.lab.convergence.rules import Arm, Rules
from isograd.lab.records import Tick

__all__ = ["Curves", "checkpoints", "descend", "linear_rate", "power_rate"]

# Squared gradient norms below this are rounding.
FLOOR = 1e-20


@dataclass(frozen=True)
class Curves:
    """Exact measurements along the way, at P points in time.

    Attributes:
        steps: steps taken before each measurement.
        gradient: squared norm of the gradient of L, [S A P].
        mask: share of the squared gradient that passes the mask, ``<g, M g> / |g|^2``, [S A P].
        descent: ``<g, D> / |g|^2`` of the direction that is stepped along, [S A P].
        loss: L, [S A P].
        averaged: squared norm of the gradient of L at the mean of the last half of the iterates, [S A]: noise averages
            out, a bias stays.
    """

    steps: tuple[int, ...]
    gradient: Float[Tensor, "S A P"]
    mask: Float[Tensor, "S A P"]
    descent: Float[Tensor, "S A P"]
    loss: Float[Tensor, "S A P"]
    averaged: Float[Tensor, "S A"]


def checkpoints(steps: int, points: int = 61) -> tuple[int, ...]:
    """0, and whole numbers spaced by equal factors up to ``steps``."""
    return (0, *sorted({round(steps ** (place / (points - 1))) for place in range(points)}))


@dataclass(frozen=True)
class _Draws:
    rows: Int[Tensor, "T 2 K S b"] | None
    order: Int[Tensor, "T S mn"] | None


def _draws(problem: Problem, seeds: Sequence[int], steps: int, batch: int | None, shuffled: bool) -> _Draws:
    """The same for all arms, and named by problem and seed."""
    made = [np.random.default_rng(derive_seed("lab", "convergence", problem.name, "draws", seed)) for seed in seeds]
    rows = order = None
    if batch is not None:
        picked = np.stack([each.integers(ROWS, size=(steps, 2, DOMAINS, batch)) for each in made], 3)
        rows = torch.from_numpy(picked)
    if shuffled:
        size = problem.start[0].numel()
        order = torch.from_numpy(np.stack([each.random((steps, size)) for each in made], 1).argsort(-1))
    return _Draws(rows, order)


def descend(
    problem: Problem,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    steps: int,
    *,
    batch: int | None = None,
    rate: float = 1.0,
    tick: Tick | None = None,
) -> Curves:
    """Run every arm on every seed, with the same step sizes.

    The step is ``rate / smoothness``; with mini-batches it falls as ``1 / sqrt(1 + t / 10)``.

    Args:
        problem: of these seeds.
        arms: A of them; the same start and the same mini-batches for all.
        seeds: S seeds, of the draws.
        steps: how many.
        batch: rows of each domain in a mini-batch; None takes all rows.
        rate: step size, in parts of 1 / smoothness.
        tick: called after each step.
    """
    rules = Rules(arms)
    draws = _draws(problem, seeds, steps, batch, rules.needs("shuffled"))
    W = problem.start[:, None].repeat(1, len(arms), 1, 1)
    total = torch.zeros_like(W)
    sizes = (rate / problem.smoothness)[:, None, None, None]
    measured = checkpoints(steps)
    found: list[tuple[Tensor, ...]] = []
    for step in range(steps + 1):
        order = None if draws.order is None else draws.order[min(step, steps - 1)]
        if batch is None:
            exact = grads = problem.gradients(W)
            direction, masks = rules(grads, order=order)
        if step in measured:
            if batch is not None:
                exact = problem.gradients(W)
                direction, masks = Rules([_plain(arm) for arm in arms])(exact)
            g = exact.mean(0)
            squared = g.square().sum((-1, -2))
            # 0 / 0 at an exact minimum.
            over = squared.clamp(min=1e-300)
            passed = (g.square() * masks).sum((-1, -2)) / over
            found.append((squared, passed, (g * direction).sum((-1, -2)) / over, problem.losses(W)))
        if step == steps:
            break
        size = sizes
        if draws.rows is not None:
            grads = problem.gradients(W, draws.rows[step, 0])
            other = problem.gradients(W, draws.rows[step, 1]) if rules.needs("other") else None
            direction, _ = rules(grads, other, order)
            size = sizes / (1 + step / 10) ** 0.5
        W = W - size * direction
        if step >= steps // 2:
            total += W
        if tick is not None:
            tick()
    averaged = problem.gradients(total / (steps - steps // 2)).mean(0).square().sum((-1, -2))
    gradient, passed, descent, loss = (torch.stack(values, -1) for values in zip(*found, strict=True))
    return Curves(measured, gradient, passed, descent, loss, averaged)


def _plain(arm: Arm) -> Arm:
    """The arm as it is without noise and without shuffling."""
    return Arm(arm.label, arm.tau, arm.normalization, "own", arm.rank)


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    if len(x) < 3:
        return float("nan")
    return float(np.polyfit(np.asarray(x), np.asarray(y), 1)[0])


def power_rate(steps: Sequence[int], values: Sequence[float]) -> float:
    """Slope of log values against log steps over the last tenfold of steps before values are rounding.

    -1 is the rate O(1/T), -1/2 is O(1/sqrt(T)), 0 a standstill; NaN with fewer than three points.
    """
    kept = [(step, value) for step, value in zip(steps, values, strict=True) if step and value > FLOOR]
    kept = [(step, value) for step, value in kept if step >= kept[-1][0] / 10]
    return _slope([float(np.log(step)) for step, _ in kept], [float(np.log(value)) for _, value in kept])


def linear_rate(steps: Sequence[int], values: Sequence[float]) -> float:
    """Minus the slope of log values against steps over the last half of the steps before values are rounding, per step.

    Gradient descent of step 1/L on a quadratic of smallest curvature mu: ``-2 log(1 - mu / L)``.
    """
    kept = [(step, value) for step, value in zip(steps, values, strict=True) if value > FLOOR]
    kept = [(step, value) for step, value in kept if step >= kept[-1][0] / 2]
    return -_slope([float(step) for step, _ in kept], [float(np.log(value)) for _, value in kept])
