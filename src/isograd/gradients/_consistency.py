"""Isomer consistency: how far the members of an isomer set disagree where they face the same decision.

OURS, not part of Invariant Gradient Alignment or of any other method here; a term to add to the loss of any of them.

Why it is gradient alignment in another space. At an aligned position i, member k predicts p_ik = softmax(z_ik) and the
label y_i is the same for all members, so the gradient of the cross-entropy with respect to the logits is
``dL_ik/dz_ik = p_ik - y_i``. The label cancels in the variance over members::

    Var_k(dL_ik / dz_ik) = Var_k(p_ik - y_i) = Var_k(p_ik)

Masks compare domains in parameter space, where the logic of a problem and its surface share coordinates; this compares
them in function space, where they do not.

n is the number of aligned positions, K the members of a set, V the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "CONSISTENCY",
    "HIDDEN_CONSISTENCY",
    "hidden_cosine",
    "jensen_shannon",
    "kl_to_mean",
    "logit_gradient_variance",
]


def logit_gradient_variance(
    logits: Float[Tensor, "n K V"], members: Bool[Tensor, "n K"] | None = None
) -> Float[Tensor, ""]:
    """Cross-member variance of the gradient of the loss with respect to the logits.

    ``mean_i sum_v (1/K) sum_k (p_ikv - mean_k p_ikv)^2`` with ``p = softmax(logits)``: the population variance of
    the predictions, in [0, 1), 0 iff all members predict the same.

    Args:
        logits: in any floating dtype; computed in float32, or in float64 if that is what they are.
        members: False where a member lacks the position; it then counts for nothing, whatever its logits.

    Returns:
        The mean over positions that at least two members have; 0 if there is none.
    """
    p, present = _prepare(logits, members)
    p = p.softmax(-1)
    weights = _weights(present)
    center = (weights * p).sum(1, keepdim=True)
    return _mean_over_positions((weights * (p - center).square()).sum((1, 2)), present)


def jensen_shannon(logits: Float[Tensor, "n K V"], members: Bool[Tensor, "n K"] | None = None) -> Float[Tensor, ""]:
    """Jensen-Shannon divergence of the members' predictions, in nats.

    ``mean_i (1/K) sum_k KL(p_ik || mean_k p_ik)``, in [0, log K], 0 iff all members predict the same.

    Args:
        logits: in any floating dtype; computed in float32, or in float64 if that is what they are.
        members: False where a member lacks the position; it then counts for nothing, whatever its logits.

    Returns:
        The mean over positions that at least two members have; 0 if there is none.
    """
    z, present = _prepare(logits, members)
    # A logit of -inf (a forbidden token) has probability 0; a finite floor keeps 0 * log 0 at 0.
    logp = z.log_softmax(-1).clamp(min=torch.finfo(z.dtype).min / 4)
    weights = _weights(present)
    log_center = (logp + weights.log().clamp(min=torch.finfo(z.dtype).min / 4)).logsumexp(1, keepdim=True)
    divergence = logp.exp() * (logp - log_center)
    return _mean_over_positions((weights * divergence).sum((1, 2)), present)


def kl_to_mean(logits: Float[Tensor, "n K V"], members: Bool[Tensor, "n K"] | None = None) -> Float[Tensor, ""]:
    """Divergence of each member's prediction from the members' mean prediction, which is held fixed; in nats.

    ``mean_i (1/K) sum_k KL(m_i || p_ik)`` with ``m_i = mean_k p_ik`` taken as a constant: distillation of each member
    from the consensus. Its gradient with respect to the logits is ``(p_ik - m_i) / K``, which stays of full size where
    a member is confidently wrong, unlike those of the other two forms. 0 iff all members predict the same.

    Args:
        logits: in any floating dtype; computed in float32, or in float64 if that is what they are.
        members: False where a member lacks the position; it then counts for nothing, whatever its logits.

    Returns:
        The mean over positions that at least two members have; 0 if there is none.
    """
    z, present = _prepare(logits, members)
    logp = z.log_softmax(-1).clamp(min=torch.finfo(z.dtype).min / 4)
    weights = _weights(present)
    center = (weights * logp.detach().exp()).sum(1, keepdim=True)
    divergence = torch.xlogy(center, center) - center * logp
    return _mean_over_positions((weights * divergence).sum((1, 2)), present)


def hidden_cosine(states: Float[Tensor, "n K d"], members: Bool[Tensor, "n K"] | None = None) -> Float[Tensor, ""]:
    """Mean cosine distance between the members' hidden states: the Logical Consistency Score's own form, optimized.

    ``mean_i (1 / (K (K - 1))) sum_{j != k} (1 - cos(h_ij, h_ik))``, in [0, 2]. At the answer's place it is the LCS
    itself in the pooling ``last`` (the state before the answer's first token), at other places the same distance of
    other tokens. A student trained on it has a low LCS by construction, so its LCS says nothing; a collapsed
    representation is a minimum. There for comparison.

    Args:
        states: computed in float32, or in float64 if that is what they are.
        members: False where a member lacks the position; it then counts for nothing, whatever its state.

    Returns:
        The mean over positions that at least two members have; 0 if there is none.
    """
    h, present = _prepare(states, members)
    unit = torch.nn.functional.normalize(h, dim=-1) * present
    count = present.sum((1, 2))
    own = unit.sum(1).square().sum(-1) - unit.square().sum((1, 2))
    return _mean_over_positions(1 - own / (count * (count - 1)).clamp(min=1.0), present)


CONSISTENCY: dict[str, Callable[..., Tensor]] = {
    "logit_variance": logit_gradient_variance,
    "js": jensen_shannon,
    "kl": kl_to_mean,
}
"""Forms that compare predictions, from logits [n K V]."""

HIDDEN_CONSISTENCY: dict[str, Callable[..., Tensor]] = {"hidden_cosine": hidden_cosine}
"""Forms that compare hidden states [n K d]."""


def _prepare(logits: Tensor, members: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits in a safe dtype with absent members at 0, and who is present, [n K 1] of that dtype."""
    z = logits if logits.dtype == torch.float64 else logits.float()
    if members is None:
        return z, z.new_ones(*z.shape[:2], 1)
    present = members.to(z.device)[..., None]
    return z.masked_fill(~present, 0.0), present.to(z.dtype)


def _weights(present: Tensor) -> Tensor:
    """1 / (number of members present) for those present, 0 for the others; [n K 1]."""
    return present / present.sum(1, keepdim=True).clamp(min=1.0)


def _mean_over_positions(values: Float[Tensor, " n"], present: Tensor) -> Float[Tensor, ""]:
    comparable = (present.sum((1, 2)) >= 2).to(values.dtype)
    return (values * comparable).sum() / comparable.sum().clamp(min=1.0)
