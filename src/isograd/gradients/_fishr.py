"""Fishr: equal variances of the gradients within domains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from isograd.common.errors import UserError
from isograd.gradients._base import DomainLosses, HeadTokens, State
from isograd.gradients._penalty import PenaltyMethod
from isograd.gradients.search import Choice, Distribution, LogUniform

__all__ = ["Fishr", "variance_distance"]

_ENTRIES_AT_ONCE = 2**22
"""Of the gradient of the head, for each domain: bounds the memory of the penalty to a few times 16 MiB times K."""


@dataclass(frozen=True)
class Fishr(PenaltyMethod):
    """Fishr: Rame et al., arXiv 2109.02934.

    With v_k the variance, entry by entry, of the gradient of the output head's weight over the samples of domain k::

        mean_k L_k + weight * (1/K) sum_k || v_k - mean_j v_j ||^2

    A sample's gradient of the head is ``(p - y) h'``, so the penalty is a function of the forward pass and is
    differentiated exactly. OURS: a sample is a supervised token (the paper's is an image, which is one prediction);
    no exponential moving average of v_k, which would hold K matrices as large as the head. A large head is taken in
    blocks of the vocabulary, recomputed in the backward pass, at about the price of three more output heads. It
    needs all tokens of the step at once: one micro-batch of one process. Shapes: losses L [K], hidden states h
    [tokens d], residuals p - y [tokens V], v_k [V d]; the result is a scalar, in nats per token. Equal domains give
    the gradient of ERM. The scale is that of one loss.

    Attributes:
        weight: lambda, >= 0. Default 0.1: from DomainBed's 1000, which is of the mean over the entries of v, some 10^4
            in its networks, where the paper and this have the sum.
        start: optimizer steps before the penalty begins to act. Default 0: ours (DomainBed's is 1500).

    Raises:
        UserError: a parameter is out of its range.
    """

    needs_head: ClassVar[bool] = True
    name: ClassVar[str] = "fishr"
    search: ClassVar[Mapping[str, Distribution]] = {"weight": LogUniform(1e-3, 10.0), "start": Choice((0, 20, 50, 100))}

    weight: float = 0.1

    def combine(self, domains: DomainLosses, state: State) -> Float[Tensor, ""]:
        del state
        if self.weight == 0:
            return domains.losses.mean()
        assert domains.head is not None
        return domains.losses.mean() + self.weight * variance_distance(domains.head, len(domains.losses))


def variance_distance(head: HeadTokens, num_domains: int) -> Float[Tensor, ""]:
    """``(1/K) sum_k || v_k - mean_j v_j ||^2`` of the variances v_k [V d] of the head's per-token gradients.

    Args:
        head: tokens of every domain; computed in float32, or in float64 if that is what they are.
        num_domains: K.

    Raises:
        UserError: a domain has no token.
    """
    hidden = head.hidden if head.hidden.dtype == torch.float64 else head.hidden.float()
    index = [(head.domains == k).nonzero().squeeze(-1) for k in range(num_domains)]
    for k, tokens in enumerate(index):
        if not len(tokens):
            raise UserError(f"fishr: domain {k} has no supervised token in the batch")
    weight = head.weight.detach()
    blocks = list(_blocks(weight.shape[0], max(1, _ENTRIES_AT_ONCE // weight.shape[1])))
    if len(blocks) == 1:  # nothing to save by working it out twice
        return _distance_in_block(hidden, weight, head.targets, None, index)
    log_normalizer = torch.stack(
        [checkpoint(_log_sum, hidden, weight[start:end], use_reentrant=False) for start, end in blocks]
    ).logsumexp(0)
    total = hidden.new_zeros(())
    for start, end in blocks:
        total = total + checkpoint(
            _distance_in_block,
            hidden,
            weight[start:end],
            head.targets - start,
            log_normalizer,
            index,
            use_reentrant=False,
        )
    return total


def _blocks(size: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, step):
        yield start, min(size, start + step)


def _log_sum(hidden: Tensor, weight: Tensor) -> Tensor:
    return (hidden @ weight.to(hidden.dtype).mT).logsumexp(-1)


def _distance_in_block(
    hidden: Float[Tensor, "tokens d"],
    weight: Float[Tensor, "block d"],
    targets: Tensor,
    log_normalizer: Float[Tensor, " tokens"] | None,
    index: list[Tensor],
) -> Float[Tensor, ""]:
    """``log_normalizer``: of the whole vocabulary; None where the block is all of it."""
    logits = hidden @ weight.to(hidden.dtype).mT
    residual = logits.softmax(-1) if log_normalizer is None else (logits - log_normalizer[:, None]).exp()
    inside = ((targets >= 0) & (targets < weight.shape[0])).nonzero().squeeze(-1)
    one_hot = torch.zeros_like(residual).index_put((inside, targets[inside]), residual.new_ones(()))
    residual = residual - one_hot
    variances = []
    for tokens in index:
        d, h, n = residual[tokens], hidden[tokens], len(tokens)
        variances.append(d.square().mT @ h.square() / n - (d.mT @ h / n).square())
    stacked = torch.stack(variances)
    return (stacked - stacked.mean(0)).square().sum() / len(index)
