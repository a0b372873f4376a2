"""What each rule makes of the same data: residuals on shared tokens, and where the gradient points.

One run of GRPO makes the data; every rule then weighs the same groups at the same parameters, so that rules differ by
nothing but their weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.lab.drift.policies import Outputs, Policy, score_sum
from isograd.lab.drift.rules import LADDER, MECHANISMS
from isograd.lab.drift.tasks import Task
from isograd.lab.drift.training import Arm, Batch, Setup, group_weights, simulate
from isograd.lab.records import Findings, Tick
from isograd.reinforce.diagnostics import cancellation, learning_tax, shared_nodes

__all__ = ["exact_gradient", "same_data"]


def exact_gradient(policy: Policy, log_probs: Float[Tensor, "N C V"]) -> Float[Tensor, "N C V"]:
    """The gradient of E[R] in the logits, for N policies. (A softmax's log-probabilities are logits, too.)"""
    with torch.enable_grad():
        logits = log_probs.masked_fill(~policy.allowed, 0).requires_grad_()
        value = policy.expected_reward(policy.log_probs(logits).exp()).sum()
        (gradient,) = torch.autograd.grad(value, logits)
    return gradient


def same_data(
    task: Task,
    seeds: list[int],
    setup: Setup,
    rate: float,
    findings: Findings,
    tick: Tick,
    *,
    ages: tuple[int, ...],
) -> None:
    """Add the records of experiment ``cancellation`` and ``direction``, by rule.

    Args:
        task: what is learnt.
        seeds: of the run that makes the data.
        setup, rate: of that run.
        findings, tick: where records and progress go.
        ages: the minibatches to look at, by how many gradient steps they are off-policy; ``at`` of the records.

    Measures, each a mean over the groups of a seed in which rewards differ:

    - ``residual``: see :func:`isograd.reinforce.diagnostics.cancellation`.
    - ``tax``: the share of shared tokens in the squared norm, see :func:`isograd.reinforce.diagnostics.learning_tax`.
    - ``template``: the share of template rows in the gradient's squared norm.
    - ``size``: the norm on the other rows, over that of GRPO.
    - ``cosine``: with the exact gradient of the expected reward, on the other rows.
    """
    kept: list[Batch] = []

    def watch(step: int, batch: Batch) -> None:
        if step % setup.every == 0:
            kept.append(batch)

    simulate(task, [Arm("GRPO", LADDER["GRPO"], rate)], seeds, setup, watch=watch, progress=tick)
    for at in ages:
        chosen = [batch for batch in kept if batch.index == at]
        outputs = Outputs(*(torch.cat([batch.outputs[part][0] for batch in chosen]) for part in range(4)))
        advantages = torch.cat([batch.advantages[0] for batch in chosen])
        ratio = torch.cat([batch.log_ratio[0] for batch in chosen])
        old = torch.cat([batch.old_logps[0] for batch in chosen])
        probs = torch.cat([batch.probs[0] for batch in chosen])
        nodes = shared_nodes(outputs.tokens, outputs.mask)
        mine = [slice(seed, None, len(seeds)) for seed in range(len(seeds))]
        exact = exact_gradient(task.policy, probs.log())
        reference: Tensor | None = None
        for label, rule in {**LADDER, **MECHANISMS}.items():
            weights = group_weights(rule, ratio, advantages, outputs.mask, old)
            residuals = [cancellation(advantages[one], weights[one], nodes[one])["residual"] for one in mine]
            findings.add("cancellation", task.name, label, "residual", residuals, at=at)
            present = old + ratio
            taxes = [
                learning_tax(advantages[one], weights[one], nodes[one], present[one], ratio[one])["norm"]
                for one in mine
            ]
            findings.add("direction", task.name, label, "tax", taxes, at=at)
            gradient = score_sum(probs, outputs, advantages[..., None] * weights)
            idle, useful = gradient[:, task.template].flatten(1), gradient[:, ~task.template].flatten(1)
            goal = exact[:, ~task.template].flatten(1)
            norm = useful.norm(dim=1)
            if reference is None:
                reference = norm
            measures = {
                "template": idle.square().sum(1) / gradient.flatten(1).square().sum(1),
                "size": norm / reference,
                "cosine": (useful * goal).sum(1) / (norm * goal.norm(dim=1)),
            }
            for measure, value in measures.items():
                # 0 / 0 where a group's rewards are all equal: there is no gradient.
                means = [torch.nanmean(value[one].masked_fill(~value[one].isfinite(), torch.nan)) for one in mine]
                findings.add("direction", task.name, label, measure, [mean.item() for mean in means], at=at)
