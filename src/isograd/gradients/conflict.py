"""How much domains disagree about a coordinate: the variance V of Invariant Gradient Alignment, in its forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Moments", "Normalization", "conflict_mask", "input_mask", "input_moments", "moments", "variance_of"]

Normalization = Literal["mean_square", "mean_squared", "layer_mean", "none"]


@dataclass(frozen=True)
class Moments:
    """What the variance over domains is made of, for each coordinate.

    Attributes:
        mean: the mean gradient g, over domains and sets.
        squared_mean: the square of the mean over domains; averaged over sets where gradients come set by set.
        mean_square: the mean of squares over domains, and sets.
    """

    mean: Float[Tensor, "*shape"]
    squared_mean: Float[Tensor, "*shape"]
    mean_square: Float[Tensor, "*shape"]


def moments(grads: Float[Tensor, "*sets K m n"], dims: int = 2) -> Moments:
    """Moments over the domains of gradients whose last ``dims`` dimensions are coordinates."""
    domains = -dims - 1
    per_set = grads.mean(domains)
    square = grads.square().mean(domains)
    if grads.dim() > dims + 1:
        return Moments(per_set.mean(0), per_set.square().mean(0), square.mean(0))
    return Moments(per_set, per_set.square(), square)


def variance_of(parts: Moments) -> Float[Tensor, "*shape"]:
    """The population variance over domains; exactly 0 where it is no more than rounding leaves of nothing.

    What is divided by something as small would make much of that.
    """
    variance = parts.mean_square - parts.squared_mean
    return variance.masked_fill_(variance <= 16 * torch.finfo(variance.dtype).eps * parts.mean_square, 0.0)


def conflict_mask(parts: Moments, tau: float, normalization: Normalization) -> Float[Tensor, "*shape"]:
    """``exp(-tau * V)`` with ``V = (mean_square - squared_mean) / normalizer``, V = 0 where nothing disagrees.

    The normalizer is the mean square ("mean_square": V in [0, 1]), the squared mean ("mean_squared": V from 0 to
    infinity, the squared coefficient of variation), the mean of the variance over all coordinates given
    ("layer_mean"), or 1 ("none").
    """
    if tau == 0:
        return torch.ones_like(parts.mean_square)
    variance = variance_of(parts)
    if normalization == "none":
        return variance.mul_(-tau).exp_()
    normalizer = {
        "mean_square": parts.mean_square,
        "mean_squared": parts.squared_mean,
        "layer_mean": variance.mean(),
    }[normalization]
    tiny = torch.finfo(variance.dtype).tiny
    return (variance / normalizer.clamp(min=tiny)).mul_(-tau).exp_()


def input_moments(grads: Float[Tensor, "*sets K m n"]) -> Moments:
    """Moments over the domains as matrices over input features: ``mean' mean`` and ``(1/K) sum_k G_k' G_k``, [n n]."""
    mean = grads.mean(tuple(range(grads.dim() - 2)))
    per_set = grads.mean(-3).flatten(0, -2)
    sets = grads.shape[0] if grads.dim() > 3 else 1
    every = grads.flatten(0, -2)
    return Moments(mean, per_set.mT @ per_set / sets, every.mT @ every / (every.shape[0] // mean.shape[0]))


def input_mask(parts: Moments, tau: float, damping: float) -> Float[Tensor, "n n"]:
    """The mask as a matrix, ``exp(-tau * T^-1 C)`` with ``T`` the mean square and ``C = T - squared mean``, [n n].

    What "mean_square" is for one coordinate, for all input directions at once: the directions u with the generalized
    eigenvalue ``lambda = u' C u / u' T u`` in [0, 1] are multiplied by ``exp(-tau * lambda)``.

    Args:
        parts: from :func:`input_moments`; the squared mean and the mean square are symmetric, positive semidefinite.
        tau: strength.
        damping: added to the diagonal of T, in parts of its mean: where no domain has a gradient, nothing disagrees.
    """
    # In double precision: with fewer tokens than inputs T is all but singular.
    T, kind = parts.mean_square.double(), parts.mean_square.dtype
    if not torch.isfinite(T).all():
        # Factorizations refuse it; a gradient that is no number must stay visible.
        return torch.full_like(T, torch.nan, dtype=kind)
    n = T.shape[0]
    floor = (damping * T.diagonal().mean()).clamp(min=torch.finfo(T.dtype).tiny)
    damped = T + floor * torch.eye(n, dtype=T.dtype, device=T.device)
    L = torch.linalg.cholesky(damped)
    half = torch.linalg.solve_triangular(L, T - parts.squared_mean.double(), upper=False)
    share = torch.linalg.solve_triangular(L, half.mT, upper=False)
    values, vectors = torch.linalg.eigh((share + share.mT) / 2)
    kept = vectors * (-tau * values.clamp(0, 1)).exp()
    mask: Tensor = torch.linalg.solve_triangular(L.mT, kept @ vectors.mT @ L.mT, upper=True)
    return mask.to(kind)
