"""The local formula of drift against measured divergence, and the disputed softmax cases, by value."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.lab.drift.cancel import exact_gradient
from isograd.lab.drift.policies import Policy
from isograd.lab.drift.rules import MECHANISMS
from isograd.lab.drift.tasks import TASKS, table_policy
from isograd.lab.drift.training import advantages_of, group_weights
from isograd.lab.records import Findings, Tick
from isograd.reinforce.diagnostics import cancellation
from isograd.reinforce.weights import min_replace

__all__ = ["ETAS", "disputed", "drift_formula", "formula_and_measured"]

ETAS = tuple(float(10**power) for power in np.linspace(-2.5, 2, 37))
# Where the third order rules: below, rounding; above, the fourth.
_FIT = (0.01, 0.3)
_CHOICES = 6
_GROUP = 8


def formula_and_measured(
    policy: Policy, logits: Tensor, direction: Tensor, etas: tuple[float, ...] = ETAS
) -> tuple[list[float], list[float]]:
    """1/2 eta^2 g' F g, and KL(pi_theta || pi_theta+eta g) of whole outputs, for each eta (arXiv 2604.13088).

    Args:
        policy: the automaton.
        logits: theta [C, V].
        direction: g [C, V].
        etas: step sizes.
    """
    now = policy.log_probs(logits)
    square = (direction.flatten() @ policy.fisher(now.exp()) @ direction.flatten()).item()
    measured = [policy.divergence(now, policy.log_probs(logits + eta * direction)).item() for eta in etas]
    return [0.5 * eta**2 * square for eta in etas], measured


def drift_formula(seeds: list[int], findings: Findings, tick: Tick) -> None:
    """Add experiment ``formula``.

    Two cases: one context with six choices pushed by a random group of eight whose advantages sum to zero and whose
    weights do not cancel, and the whole bigram policy of the task ``short`` pushed along its exact policy gradient.
    ``order``: the slope of log |measured - formula| over log eta; ``within``: the largest measured divergence up to
    which the formula is off by at most a tenth. The line ``ratio`` is measured over formula, over eta.
    """
    one = table_policy((1.0,) + (0.0,) * (_CHOICES - 1))
    short = TASKS["short"].policy
    orders: dict[str, list[float]] = {"one context": [], "whole policy": []}
    reaches: dict[str, list[float]] = {"one context": [], "whole policy": []}
    ratios: dict[str, list[list[float]]] = {"one context": [], "whole policy": []}
    for seed in seeds:
        generator = np.random.default_rng(derive_seed("lab", "formula", seed))
        logits = torch.from_numpy(generator.normal(size=(1, _CHOICES)))
        probs = logits.softmax(-1)
        drawn = torch.from_numpy(generator.choice(_CHOICES, size=_GROUP, p=probs[0].numpy()))
        rewards = torch.from_numpy((generator.permutation(_GROUP) < _GROUP // 2).astype(np.float64))
        weights = torch.from_numpy(generator.uniform(0.5, 1.5, size=_GROUP))
        push = torch.zeros(1, _CHOICES, dtype=torch.float64)
        push[0].index_add_(0, drawn, advantages_of(rewards) * weights / _GROUP)
        start = TASKS["short"].start(seed)
        cases = {
            "one context": (one, logits, push - push.sum() * probs),
            "whole policy": (short, start, exact_gradient(short, short.log_probs(start)[None])[0]),
        }
        for name, (policy, theta, direction) in cases.items():
            formula, measured = formula_and_measured(policy, theta, direction)
            ratios[name].append([real / told for real, told in zip(measured, formula, strict=True)])
            fit = [place for place, eta in enumerate(ETAS) if _FIT[0] <= eta <= _FIT[1]]
            x = [math.log(ETAS[place]) for place in fit]
            y = [math.log(abs(measured[place] - formula[place])) for place in fit]
            orders[name].append(float(np.polyfit(x, y, 1)[0]))
            bad = [place for place, ratio in enumerate(ratios[name][-1]) if abs(1 / ratio - 1) > 0.1]
            reaches[name].append(measured[max(bad[0] - 1, 0)] if bad else math.nan)
    for name in orders:
        findings.add("formula", name, "formula", "order", orders[name])
        findings.add("formula", name, "formula", "within", reaches[name])
        findings.line("formula", name, "formula", "ratio", ETAS, ratios[name])
    tick()


def disputed(seeds: list[int], findings: Findings, tick: Tick) -> None:
    """Add experiment ``disputed``: exact values, no sampling. ``odds`` is the speed of log p1 - log p2 for a unit rate.

    With p = (.6, .3, .1) and rewards (1, 1, 0): the expected gradient; the natural gradient; one group that holds each
    output once, with the coefficients named. ``gap`` is the speed of p1 - p2. With a bigram policy: one group of the
    two solutions and a wrong output under equal weights; ``gain`` is the speed of log (p1 + p2). ``residual`` has no
    value where nothing is pushed.
    """

    def say(arm: str, measure: str, value: float) -> None:
        findings.add("disputed", "softmax (.6, .3, .1)", arm, measure, [value])

    policy = table_policy((1.0, 1.0, 0.0))
    logits = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64).log()
    probs = logits.exp()
    gradient = exact_gradient(policy, logits[None])[0]
    pushes = {
        "expected gradient": gradient,
        "natural gradient": (torch.linalg.pinv(policy.fisher(probs)) @ gradient.flatten())[None],
    }
    for name, values in {"(1, 1, -2)": (1, 1, -2), "(1, 1, 0)": (1, 1, 0), "(1, 3, -4)": (1, 3, -4)}.items():
        push = torch.tensor([values], dtype=torch.float64)
        pushes[f"coefficients {name}"] = push - push.sum() * probs
    for name, push in pushes.items():
        moved = (probs * (push - (probs * push).sum()))[0]
        say(name, "odds", (push[0, 0] - push[0, 1]).item())
        say(name, "gap", (moved[0] - moved[1]).item())
    _flow(policy, logits, findings)
    weights = torch.tensor([[[1.0], [3.0], [2.0]]], dtype=torch.float64)
    advantages = torch.tensor([[1.0, 1.0, -2.0]], dtype=torch.float64)
    nodes = torch.zeros(1, 3, 1, dtype=torch.long)
    for name, value in {"weights (1, 3, 2)": weights, "their minimum": min_replace(weights)}.items():
        findings.add(
            "disputed", "A = (1, 1, -2)", name, "residual", [cancellation(advantages, value, nodes)["residual"]]
        )
    # One token, shared by all, whose ratio has left the range: what clipping alone makes of it.
    ratio, everyone = torch.full((1, 3, 1), math.log(1.3), dtype=torch.float64), torch.ones(1, 3, 1, dtype=torch.bool)
    for name, rule in MECHANISMS.items():
        kept = group_weights(rule, ratio, advantages, everyone, ratio - 1)
        findings.add(
            "disputed",
            "a shared token at ratio 1.3",
            name,
            "residual",
            [cancellation(advantages, kept, nodes)["residual"]],
        )
    task = TASKS["short"]
    speeds, gains = [], []
    for seed in seeds:
        speed, gain = _equal_coefficients(task.policy, task.start(seed))
        speeds.append(abs(speed))
        gains.append(gain)
    findings.add("disputed", "bigram, equal coefficients", "two solutions, one wrong", "odds", speeds)
    findings.add("disputed", "bigram, equal coefficients", "two solutions, one wrong", "gain", gains)
    tick()


def _flow(policy: Policy, logits: Tensor, findings: Findings, steps: int = 400, rate: float = 0.5) -> None:
    """log p1 / p2 along the exact gradient and along the exact natural gradient."""
    for name in ("expected gradient", "natural gradient"):
        theta, odds, xs = logits.clone(), [], []
        for step in range(steps + 1):
            if step % 5 == 0:
                xs.append(float(step))
                odds.append((theta[0, 0] - theta[0, 1]).item())
            log_probs = policy.log_probs(theta)
            if name == "natural gradient":
                # Of one softmax: the advantage of each output, up to a constant. No inverse of a matrix near zero.
                gradient = policy.reward - policy.expected_reward(log_probs.exp())
            else:
                gradient = exact_gradient(policy, log_probs[None])[0]
            theta = theta + rate * gradient
        findings.line("disputed", "softmax (.6, .3, .1)", name, "flow", xs, [odds])


def _equal_coefficients(policy: Policy, logits: Tensor) -> tuple[float, float]:
    """How fast log-odds of two solutions, and their probability, move under coefficients 1, 1 and -2."""
    outputs = policy.enumerate()
    solved = torch.nonzero(outputs.rewards > 0).flatten().tolist()
    lengths = outputs.mask.sum(-1)
    short, long = (min(solved, key=lambda i: (sign * int(lengths[i]), i)) for sign in (1, -1))
    wrong = int(torch.nonzero(outputs.rewards == 0)[0])
    theta = logits.clone().requires_grad_()
    with torch.enable_grad():
        log_probs = policy.log_probs(theta)
        chance = torch.where(outputs.mask, log_probs[outputs.rows, outputs.tokens], 0).sum(-1)
        (push,) = torch.autograd.grad(chance[short] + chance[long] - 2 * chance[wrong], theta, retain_graph=True)
        solution = policy.solutions(log_probs.exp()).log()
        (odds,) = torch.autograd.grad(solution[0] - solution[1], theta, retain_graph=True)
        (both,) = torch.autograd.grad(solution.logsumexp(0), theta)
    return (odds * push).sum().item(), (both * push).sum().item()
