"""Expectation and variance of group gradients by enumeration of all groups: nothing is sampled.

Does a group update that does not cancel move tokens that earn nothing in expectation, or only at random? All n^G groups
of G outputs of a tiny task are weighed with their probability under the sampling policy.
"""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.lab.drift.cancel import exact_gradient
from isograd.lab.drift.policies import Outputs, score_sum
from isograd.lab.drift.rules import LADDER, MECHANISMS
from isograd.lab.drift.tasks import Task, make_task
from isograd.lab.drift.training import advantages_of, group_weights
from isograd.lab.records import Findings, Tick
from isograd.reinforce.weights import TokenWeights

__all__ = ["GROUP", "TINY", "all_groups", "moments", "run_moments"]

GROUP = 3
_SHIFT = 0.3

TINY = make_task(
    "tiny",
    "bigram, 1 opening of 2 phrases, 2 letters, solutions of 1 and 2 letters: 14 outputs",
    solutions=((0,), (1, 0)),
    letters=2,
    longest=2,
    openings=1,
    phrases=2,
    favored=1.0,
)


def all_groups(outputs: Outputs, size: int) -> Outputs:
    """All groups of ``size`` outputs, as n^G rows of a batch."""
    index = torch.tensor(list(itertools.product(range(len(outputs.rewards)), repeat=size)))
    return Outputs(*(value[index] for value in outputs))


def moments(
    task: Task, rule: TokenWeights, groups: Outputs, old: Float[Tensor, "C V"], new: Float[Tensor, "C V"]
) -> tuple[Float[Tensor, "C V"], Float[Tensor, "C V"]]:
    """Mean and variance of the group gradient at ``new`` when groups come from ``old``.

    Args:
        task: what is learnt.
        rule: of the token weights.
        groups: from :func:`all_groups`.
        old, new: logits.
    """
    policy = task.policy
    then, now = policy.log_probs(old), policy.log_probs(new)
    old_logps = torch.where(groups.mask, then[groups.rows, groups.tokens], 0)
    new_logps = torch.where(groups.mask, now[groups.rows, groups.tokens], 0)
    chance = old_logps.sum((-1, -2)).exp()[:, None, None]
    advantages = advantages_of(groups.rewards)
    weights = group_weights(rule, new_logps - old_logps, advantages, groups.mask, old_logps)
    gradient = score_sum(now.exp().expand(len(chance), -1, -1), groups, advantages[..., None] * weights)
    mean = (chance * gradient).sum(0)
    return mean, (chance * (gradient - mean).square()).sum(0)


def run_moments(seeds: list[int], findings: Findings, tick: Tick) -> None:
    """Add the records of experiment ``exact``: by rule, on-policy (``at`` 0) and off-policy (``at`` 1).

    ``template bias`` is the norm of the expected gradient on the template row and ``template noise`` the root of its
    total variance there; ``bias`` and ``noise`` the same on all other rows; ``cosine`` that of the expected gradient
    with the exact gradient of the expected reward at the present policy. All norms are over the norm of the rule's own
    expected gradient, so that a rule gains nothing by being small.
    """
    groups = all_groups(TINY.policy.enumerate(), GROUP)
    found: dict[tuple[str, int, str], list[float]] = {}
    for seed in seeds:
        old = TINY.start(seed)
        generator = torch.Generator().manual_seed(derive_seed("lab", "tiny", "shift", seed))
        shift = torch.randn(old.shape, generator=generator, dtype=torch.float64) * _SHIFT
        for at, new in ((0, old), (1, old + shift)):
            goal = exact_gradient(TINY.policy, TINY.policy.log_probs(new)[None])[0]
            for label, rule in {**LADDER, **MECHANISMS}.items():
                mean, variance = moments(TINY, rule, groups, old, new)
                idle, useful = TINY.template, ~TINY.template
                whole = mean.norm()
                values = {
                    "template bias": mean[idle].norm() / whole,
                    "template noise": variance[idle].sum().sqrt() / whole,
                    "bias": mean[useful].norm() / whole,
                    "noise": variance[useful].sum().sqrt() / whole,
                    "cosine": (mean * goal).sum() / (whole * goal.norm()),
                }
                for measure, value in values.items():
                    found.setdefault((label, at, measure), []).append(value.item())
        tick()
    for (label, at, measure), numbers in found.items():
        findings.add("exact", TINY.name, label, measure, numbers, at=at)
