"""Many small training runs at once: every rule, rate and seed is one row of a batch.

A step samples M groups of G outputs from the present policy and takes M gradient steps, a group each, so that the last
of them is M - 1 steps off-policy. The draws depend on the seed and the task alone: rules are compared on the same
random numbers. Advantages are centred and divided by the group's deviation for every rule, so that rules differ in
their weights and in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.lab.drift.policies import Outputs, score_sum
from isograd.lab.drift.tasks import Task
from isograd.reinforce.weights import TokenWeights

__all__ = ["Arm", "Batch", "Curves", "Optimizer", "Setup", "advantages_of", "group_weights", "simulate"]

Optimizer = Literal["sgd", "adam", "normalized"]


@dataclass(frozen=True)
class Arm:
    """A rule for token weights at a learning rate."""

    label: str
    rule: TokenWeights
    rate: float


@dataclass(frozen=True)
class Setup:
    """How to train.

    Attributes:
        steps: rollouts.
        group: outputs a group (G).
        minibatches: groups, and so gradient steps, a rollout (M).
        optimizer: ``sgd``; ``adam`` (0.9, 0.999); ``normalized``: SGD whose step has the norm of the rate, so that
            rules which only shrink the gradient gain and lose nothing.
        every: rollouts between two measurements.
    """

    steps: int
    group: int = 8
    minibatches: int = 4
    optimizer: Optimizer = "adam"
    every: int = 5


@dataclass(frozen=True)
class Batch:
    """One minibatch as the rules saw it: A arms, S seeds."""

    index: int
    outputs: Outputs
    advantages: Float[Tensor, "A S G"]
    log_ratio: Float[Tensor, "A S G T"]
    old_logps: Float[Tensor, "A S G T"]
    weights: Float[Tensor, "A S G T"]
    probs: Float[Tensor, "A S C V"]


@dataclass
class Curves:
    """Exact measurements over training; each has shape [A, S, P], P points in time."""

    steps: list[int] = field(default_factory=list)
    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Float[Tensor, "A S P"]:
        return torch.stack(self.values[name], -1)


def advantages_of(rewards: Float[Tensor, "*N G"]) -> Float[Tensor, "*N G"]:
    """Rewards, centred over the group and divided by its standard deviation; zero where all are equal."""
    centred = rewards - rewards.mean(-1, keepdim=True)
    deviation = centred.square().mean(-1, keepdim=True).sqrt()
    return torch.where(deviation > 1e-9, centred / deviation.clamp(min=1e-9), 0)


def group_weights(
    rule: TokenWeights,
    log_ratio: Float[Tensor, "N G T"],
    advantages: Float[Tensor, "N G"],
    mask: Bool[Tensor, "N G T"],
    old_logps: Float[Tensor, "N G T"],
) -> Float[Tensor, "N G T"]:
    """Weights of N groups, each a batch of its own."""
    tokens = mask.sum((-1, -2), keepdim=True)
    weights = rule(log_ratio, advantages, mask, old_logps=old_logps, tokens=tokens)
    # The other two normalizations divide by the number of groups.
    return weights if rule.normalization == "batch" else weights * len(mask)


def simulate(
    task: Task,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    setup: Setup,
    *,
    watch: Callable[[int, Batch], None] | None = None,
    progress: Callable[[], None] | None = None,
) -> Curves:
    """Train every arm on every seed.

    Args:
        task: what is learnt.
        arms: A rules with their rates.
        seeds: S seeds, of start and draws; the same for all arms.
        setup: how.
        watch: called with the step and each minibatch before it is used.
        progress: called after each step.

    Returns:
        ``reward`` (expected), ``entropy`` (of the output), ``template_entropy``, ``template_drift`` (KL from the start
        to now) and ``template_local`` (the sum over gradient steps of 1/2 d'Fd), each a mean over template rows;
        ``odds``: how far the log-odds of the first two solutions have moved.
    """
    policy, shape = task.policy, (len(arms), len(seeds))
    logits = torch.stack([task.start(seed) for seed in seeds]).repeat(len(arms), 1, 1)
    rates = torch.tensor([arm.rate for arm in arms], dtype=torch.float64).repeat_interleave(len(seeds))[:, None, None]
    draws = [np.random.default_rng(derive_seed("lab", task.name, "draws", seed)) for seed in seeds]
    first, second = torch.zeros_like(logits), torch.zeros_like(logits)
    begin = policy.log_probs(logits)
    local = logits.new_zeros(len(logits))
    curves, updates = Curves(), 0

    def measure(step: int) -> None:
        now = policy.log_probs(logits)
        found: Mapping[str, Tensor] = {
            "reward": policy.expected_reward(now.exp()),
            "entropy": policy.entropy(now),
            "template_entropy": policy.row_entropy(now)[:, task.template].mean(-1),
            "template_drift": policy.row_divergence(begin, now)[:, task.template].mean(-1),
            "template_local": local,
            "odds": (_odds(task, now) - _odds(task, begin)).abs(),
        }
        curves.steps.append(step)
        for name, value in found.items():
            curves.values.setdefault(name, []).append(value.view(shape))

    measure(0)
    for step in range(1, setup.steps + 1):
        size = (setup.minibatches * setup.group, policy.longest)
        uniforms = torch.from_numpy(np.stack([each.random(size) for each in draws])).repeat(len(arms), 1, 1)
        log_probs = policy.log_probs(logits)
        rollout = policy.sample(log_probs.exp(), uniforms)
        if task.noise:
            noise = np.stack([each.normal(scale=task.noise, size=size[0]) for each in draws])
            rollout = rollout._replace(rewards=rollout.rewards + torch.from_numpy(noise).repeat(len(arms), 1))
        old = _gather(log_probs, rollout)
        for index in range(setup.minibatches):
            part = slice(index * setup.group, (index + 1) * setup.group)
            outputs = Outputs(*(value[:, part] for value in rollout))
            advantages = advantages_of(outputs.rewards)
            log_probs = policy.log_probs(logits)
            ratio = _gather(log_probs, outputs) - old[:, part]
            weights = torch.cat(
                [
                    group_weights(arm.rule, *(value[here] for value in (ratio, advantages, outputs.mask, old[:, part])))
                    for arm, here in zip(arms, _slices(shape), strict=True)
                ]
            )
            probs = log_probs.exp()
            if watch is not None:
                seen = Outputs(*(value.unflatten(0, shape) for value in outputs))
                known = (advantages, ratio, old[:, part], weights, probs)
                watch(step, Batch(index, seen, *(value.unflatten(0, shape) for value in known)))
            gradient = score_sum(probs, outputs, advantages[..., None] * weights)
            updates += 1
            if setup.optimizer == "adam":
                first = 0.9 * first + 0.1 * gradient
                second = 0.999 * second + 0.001 * gradient.square()
                unbiased = first / (1 - 0.9**updates)
                change = rates * unbiased / ((second / (1 - 0.999**updates)).sqrt() + 1e-8)
            elif setup.optimizer == "normalized":
                norm = gradient.flatten(1).norm(dim=1)[:, None, None]
                change = rates * gradient / torch.where(norm > 0, norm, 1)
            else:
                change = rates * gradient
            mean = (probs * change).sum(-1)
            size_of = 0.5 * ((probs * change.square()).sum(-1) - mean.square())
            local = local + size_of[:, task.template].mean(-1)
            logits = logits + change
        if step % setup.every == 0 or step == setup.steps:
            measure(step)
        if progress is not None:
            progress()
    return curves


def _slices(shape: tuple[int, int]) -> list[slice]:
    return [slice(arm * shape[1], (arm + 1) * shape[1]) for arm in range(shape[0])]


def _gather(log_probs: Float[Tensor, "R C V"], outputs: Outputs) -> Float[Tensor, "R G T"]:
    """log pi of the tokens, zero where the mask is false."""
    runs = torch.arange(len(log_probs))[:, None, None]
    return torch.where(outputs.mask, log_probs[runs, outputs.rows, outputs.tokens], 0)


def _odds(task: Task, log_probs: Float[Tensor, "R C V"]) -> Float[Tensor, " R"]:
    chance = task.policy.solutions(log_probs.exp()).log()
    return chance[:, 0] - chance[:, 1]
