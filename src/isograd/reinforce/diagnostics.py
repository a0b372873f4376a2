"""What a group update does to tokens that earn nothing: the disease and the cure, in numbers.

Shapes: N groups of G completions of at most T tokens. Two completions *share* a token where they have been equal from
their first token up to and including it: only there is the context the same, so that their gradients can cancel.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["cancellation", "drift", "learning_tax", "shared_nodes"]


def shared_nodes(ids: Int[Tensor, "N G T"], mask: Bool[Tensor, "N G T"]) -> Int[Tensor, "N G T"]:
    """Which completions of a group share a token: the number of the first completion that has the same tokens so far.

    Equal numbers at the same position of a group mean the same token in the same context: the nodes of its prefix tree.

    Returns:
        -1 where the mask is false.
    """
    tokens = torch.where(mask, ids, -1)
    equal = (tokens[:, :, None] == tokens[:, None]).cumprod(-1).bool() & mask[:, :, None] & mask[:, None]
    # argmax returns the first of equal values.
    return torch.where(mask, equal.to(torch.uint8).argmax(2), -1)


def _sum_by_node(values: Float[Tensor, "N G T"], nodes: Int[Tensor, "N G T"]) -> Float[Tensor, "N G T"]:
    """Sums over the completions of each node, in the place of the node's first completion; zero elsewhere."""
    return torch.zeros_like(values).scatter_add(1, nodes.clamp(min=0), torch.where(nodes >= 0, values, 0))


def _shared_by_all(sharers: Float[Tensor, "N G T"], nodes: Int[Tensor, "N G T"]) -> Bool[Tensor, "N G T"]:
    """Whether all completions of the group that have tokens, two at least, share the node."""
    there = (nodes >= 0).any(-1).sum(1)
    return (sharers == there[:, None, None]) & (sharers >= 2)


def cancellation(
    advantages: Float[Tensor, "N G"], weights: Float[Tensor, "N G T"], nodes: Int[Tensor, "N G T"]
) -> dict[str, float]:
    """How much of what shared tokens are pushed does not cancel.

    For a token shared by the completions S: |sum over S of A_i w_it| / sum over S of |A_i w_it|, averaged over shared
    tokens by how many completions share them. 0 is full cancellation, 1 none.

    Args:
        advantages: of the completions.
        weights: effective token weights, see :mod:`isograd.reinforce.weights`.
        nodes: from :func:`shared_nodes`.

    Returns:
        ``residual`` over tokens that all completions of a group share (those that have any: some may be masked out),
        which no reward can tell apart; ``residual_any`` over those that two or more share (where the sharers differ in
        mean reward from the rest, part of it is signal); both NaN where there are none. ``shared``: the share of tokens
        that two or more completions share.
    """
    push = advantages[..., None] * weights
    count = _sum_by_node((nodes >= 0).to(push), nodes)
    net, gross = _sum_by_node(push, nodes).abs(), _sum_by_node(push.abs(), nodes)
    rest = net / torch.where(gross > 0, gross, 1)

    def mean(chosen: Tensor) -> float:
        frequency = torch.where(chosen & (gross > 0), count, 0)
        return ((rest * frequency).sum() / frequency.sum()).item()

    some = count >= 2
    return {
        "residual": mean(_shared_by_all(count, nodes)),
        "residual_any": mean(some),
        "shared": (torch.where(some, count, 0).sum() / count.sum().clamp(min=1)).item(),
    }


def learning_tax(
    advantages: Float[Tensor, "N G"],
    weights: Float[Tensor, "N G T"],
    nodes: Int[Tensor, "N G T"],
    logps: Float[Tensor, "N G T"],
    log_ratio: Float[Tensor, "N G T"],
) -> dict[str, float]:
    """What is spent on tokens that all completions of a group share.

    Args:
        advantages, weights, nodes: as for :func:`cancellation`.
        logps: log pi of the sampled tokens.
        log_ratio: log pi - log pi_old.

    Returns:
        ``norm``: their share of the squared norm of the update, counted in the logits of the sampled tokens: a token's
        logit is pushed by (1 - pi) * sum of A_i w_it over its sharers. ``kl``: their share of the divergence from the
        sampling policy so far, by the estimate r - 1 - log r. NaN where there is no update, or no divergence.
    """
    sharers = _sum_by_node((nodes >= 0).to(weights), nodes)
    every = _shared_by_all(sharers, nodes)
    # All sharers of a node have the same context, hence the same probability: their mean is anyone's.
    open_ = _sum_by_node(1 - logps.detach().exp(), nodes) / sharers.clamp(min=1)
    push = (open_ * _sum_by_node(advantages[..., None] * weights, nodes)).square()
    known = torch.where(nodes >= 0, log_ratio.detach(), 0)
    divergence = _sum_by_node(known.exp() - 1 - known, nodes)

    def share(values: Tensor) -> float:
        total = values.sum()
        return (torch.where(every, values, 0).sum() / total).item() if total > 0 else float("nan")

    return {"norm": share(push), "kl": share(divergence)}


def drift(advantages: Float[Tensor, "N G"], log_ratio: Float[Tensor, "N G T"], mask: Bool[Tensor, "N G T"]) -> float:
    """How far equally rewarded completions of a group have moved apart since they were sampled.

    The mean of |log (pi(y_i) / pi(y_j)) - log (pi_old(y_i) / pi_old(y_j))| over pairs of equal advantage, in nats. NaN
    where there is no such pair.
    """
    moved = torch.where(mask, log_ratio.detach(), 0).sum(-1)
    pairs = torch.isclose(advantages[:, :, None], advantages[:, None], rtol=1e-5, atol=1e-6)
    pairs = pairs & ~torch.eye(advantages.shape[1], dtype=torch.bool, device=pairs.device)
    return (moved[:, :, None] - moved[:, None]).abs()[pairs].mean().item()
