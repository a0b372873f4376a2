"""How much domains disagree about a coordinate: the variance V of Invariant Gradient Alignment, in its forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Moments", "Normalization", "conflict_mask", "moments", "variance_of"]

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
