"""Many runs at once: every rule, learning rate and seed is a row; the number of domains is the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.lab.bound.problems import INVARIANT, Problem
from isograd.lab.bound.rules import Rule, direction

__all__ = ["HIDDEN", "Model", "Optimizer", "Setup", "simulate", "train_weights"]

Model = Literal["linear", "two-layer"]
Optimizer = Literal["sgd", "adamw", "adamw raw"]

HIDDEN = 2
"""Hidden units h of the two-layer network."""

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Setup:
    """How to train.

    Attributes:
        optimizer: ``sgd``, plain; ``adamw`` (0.9, 0.999, 1e-8); ``adamw raw``: Adam's second moment sees the mean
            gradient as it was before the mask.
        points: steps at which weights are kept, ascending.
        model: ``linear``, or ``two-layer``: w = B' a, linear units, trained in B [h d] and a [h].
        decay: decoupled weight decay, times the learning rate at each step.
    """

    optimizer: Optimizer
    points: tuple[int, ...]
    model: Model = "linear"
    decay: float = 0.0


def train_weights(
    problem: Problem, rules: Sequence[Rule], rates: Float[Tensor, "A R #S"], seeds: Sequence[int], setup: Setup
) -> Float[Tensor, "P A R S d"]:
    """Train every rule at every rate on every seed.

    Args:
        problem: S problems.
        rules: A rules; all see the same noise.
        rates: R learning rates for each rule.
        seeds: of the S problems; they name the noise, the start and the shuffles.
        setup: how.

    Returns:
        The model's weights w, in true coordinates, at each of P points.
    """
    K, S, d = problem.targets.shape
    A, R = rates.shape[:2]
    cues = (torch.arange(d) >= INVARIANT).to(torch.float64)
    blind = torch.ones(A, 1, 1, d, dtype=torch.float64)
    for place, rule in enumerate(rules):
        if rule.kind == "oracle":
            blind[place] -= cues
    theta = _start(problem, setup.model, blind, R, seeds)
    n = theta.shape[-1]
    step_size = rates.expand(A, R, S)[..., None]
    draws = [np.random.default_rng(derive_seed("lab", "bound", "noise", K, seed)) for seed in seeds]
    orders = [np.random.default_rng(derive_seed("lab", "bound", "order", K, seed)) for seed in seeds]
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    kept = []
    for step in range(max(setup.points) + 1):
        if step in setup.points:
            kept.append(problem.true(_weights(theta, setup.model, d).flatten(0, 1)).unflatten(0, (A, R)))
        if step == max(setup.points):
            break
        seen = _weights(theta, setup.model, d)
        error = problem.gradients(problem.true(seen.flatten(0, 1))).unflatten(1, (A, R))
        if problem.noise:
            noise = np.stack([each.normal(scale=problem.noise, size=(K, d)) for each in draws], 1)
            error = error + torch.from_numpy(noise)[:, None, None]
        error = problem.seen((error * blind).flatten(1, 2)).unflatten(1, (A, R))
        grads = _parameter_gradients(theta, error, setup.model, d)
        order = None
        if any(rule.kind == "shuffled" for rule in rules):
            order = torch.from_numpy(np.stack([each.permutation(n) for each in orders])).repeat(R, 1)
        moves = torch.stack(
            [
                direction(rule, grads[:, place].flatten(1, 2), cues, order).unflatten(0, (R, S))
                for place, rule in enumerate(rules)
            ]
        )
        if setup.optimizer == "sgd":
            change = moves
        else:
            raw = grads.mean(0) if setup.optimizer == "adamw raw" else moves
            first = torch.lerp(moves, first, _BETAS[0])
            second = torch.lerp(raw.square(), second, _BETAS[1])
            unbiased = second / (1 - _BETAS[1] ** (step + 1))
            change = first / (1 - _BETAS[0] ** (step + 1)) / (unbiased.sqrt() + _EPSILON)
        theta = theta - step_size * (change + setup.decay * theta)
    return torch.stack(kept)


def simulate(
    problem: Problem, rules: Sequence[Rule], rate: float, seeds: Sequence[int], setup: Setup
) -> Float[Tensor, "P A S d"]:
    """:func:`train_weights` at one learning rate for all."""
    return train_weights(problem, rules, torch.full((len(rules), 1, 1), rate, dtype=torch.float64), seeds, setup)[
        :, :, 0
    ]


def _start(
    problem: Problem, model: Model, blind: Float[Tensor, "A 1 1 d"], rates: int, seeds: Sequence[int]
) -> Float[Tensor, "A R S n"]:
    """Zero weights; or small random layers, without cues where the rule is blind to them."""
    A, S, d = len(blind), len(seeds), blind.shape[-1]
    if model == "linear":
        return torch.zeros(A, rates, S, d, dtype=torch.float64)
    layers = []
    for seed in seeds:
        random = np.random.default_rng(derive_seed("lab", "bound", "start", seed))
        layers.append(np.concatenate([random.normal(size=HIDDEN), 0.1 * random.normal(size=HIDDEN * d)]) / HIDDEN**0.5)
    start = torch.from_numpy(np.stack(layers)).expand(A, rates, S, -1)
    head, body = start.split([HIDDEN, HIDDEN * d], -1)
    # [A R h S d]: the rotation belongs to the seed.
    units = body.unflatten(-1, (HIDDEN, d)).transpose(2, 3).flatten(0, 2)
    units = problem.seen(problem.true(units).unflatten(0, (A, rates, HIDDEN)).mul(blind[:, :, None]).flatten(0, 2))
    body = units.unflatten(0, (A, rates, HIDDEN)).transpose(2, 3).flatten(-2)
    return torch.cat([head, body], -1)


def _weights(theta: Float[Tensor, "A R S n"], model: Model, d: int) -> Float[Tensor, "A R S d"]:
    if model == "linear":
        return theta
    head, body = theta.split([HIDDEN, HIDDEN * d], -1)
    weights: Tensor = (head[..., None] * body.unflatten(-1, (HIDDEN, d))).sum(-2)
    return weights


def _parameter_gradients(
    theta: Float[Tensor, "A R S n"], error: Float[Tensor, "K A R S d"], model: Model, d: int
) -> Float[Tensor, "K A R S n"]:
    """The chain rule from the weights w to the parameters."""
    if model == "linear":
        return error
    head, body = theta.split([HIDDEN, HIDDEN * d], -1)
    outer = head[..., None] * error[..., None, :]
    inner = (body.unflatten(-1, (HIDDEN, d)) @ error[..., None]).squeeze(-1)
    return torch.cat([inner, outer.flatten(-2)], -1)
