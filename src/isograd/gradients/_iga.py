"""Invariant Gradient Alignment (IGA): a continuous conflict mask and a truncated SVD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import LocalMethod
from isograd.gradients._checks import at_least, non_negative, one_of
from isograd.gradients.lowrank import LowRank, truncated_svd

__all__ = ["Iga"]


@dataclass(frozen=True)
class Iga(LocalMethod):
    """Invariant Gradient Alignment, arXiv 2606.05025.

    Not the *Inter-environmental* Gradient Alignment that DomainBed also calls IGA (arXiv 2008.01883): that one adds
    the variance of whole gradients to the loss, this one masks the gradient coordinate by coordinate.

    With per-domain gradients g_1 .. g_K of the effective weight W, and all of it element by element::

        g = (1/K) sum_k g_k
        v = (1/K) sum_k (g_k - g)^2                  population variance over domains
        V = v / ((1/K) sum_k g_k^2)                  "mean_square", in [0, 1]; 0 where all g_k are 0
        M = exp(-tau * V)                            in (0, 1]
        D = truncated SVD of M * g, of rank r
        dB = s * D @ A',  dA = s * B' @ D            chain rule through W = W0 + s * B @ A

    From the paper: the mask M, the product M * g, and that a truncated SVD brings it back to rank r. OURS, because
    what we have of the paper leaves them open: the normalization of V (it makes the mask independent of the scale
    of the loss and of the layer, since ``V = 1 - g^2 / mean square``); that gradients are those of W and not of the
    factors (A and B are defined only up to an invertible r x r matrix, W is not); that the SVD is of the masked
    gradient; and the chain rule. ``normalization="none"`` is the raw variance V = v, whose scale, in squared
    gradient units, tau has to match; a loss scaler (float16) would change it.

    tau = 0 with ``svd="none"`` is domain-balanced ERM. The scale of the direction is that of the mean gradient.

    Attributes:
        tau: strength of the mask, >= 0.
        normalization: "mean_square" or "none".
        svd: "randomized" (arXiv 0909.4061), "exact" (LAPACK, slow), or "none" (keep full rank).
        rank: rank of the truncation; None takes the adapter's rank at each layer.
        oversample: extra random columns of the randomized SVD.
        power_iterations: passes over the matrix and its transpose that sharpen the randomized SVD.

    Raises:
        UserError: a parameter is out of its range.
    """

    tau: float = 1.0
    normalization: Literal["mean_square", "none"] = "mean_square"
    svd: Literal["randomized", "exact", "none"] = "randomized"
    rank: int | None = None
    oversample: int = 8
    power_iterations: int = 1

    def __post_init__(self) -> None:
        non_negative("iga", "tau", self.tau)
        one_of("iga", "normalization", self.normalization, ("mean_square", "none"))
        one_of("iga", "svd", self.svd, ("randomized", "exact", "none"))
        if self.rank is not None:
            at_least("iga", "rank", self.rank, 1)
        at_least("iga", "oversample", self.oversample, 0)
        at_least("iga", "power_iterations", self.power_iterations, 0)

    def merge(self, grads: Float[Tensor, "K rows n"]) -> Float[Tensor, "rows n"]:
        # Few passes and no reductions over the leading dimension: on a CPU this is bound by memory, not arithmetic.
        K = grads.shape[0]
        total = grads[0] + grads[1] if K > 1 else grads[0].clone()
        for k in range(2, K):
            total += grads[k]
        if self.tau == 0:
            return total.div_(K)
        if self.normalization == "none":
            mean = total.div_(K)
            exponent = torch.zeros_like(mean)
            for k in range(K):
                difference = grads[k] - mean
                exponent.addcmul_(difference, difference, value=-self.tau / K)
            return exponent.exp_().mul_(mean)
        # -tau * V = tau * ratio - tau with ratio = total^2 / (K * sum of squares). The smallest normal number makes
        # 0/0 one. Rounding may lift the ratio a hair above one, and the mask with it, by less than the mean's own.
        tiny = grads.new_tensor(torch.finfo(grads.dtype).tiny)
        squares = torch.addcmul(tiny, grads[0], grads[0])
        for k in range(1, K):
            squares.addcmul_(grads[k], grads[k])
        ratio = torch.addcmul(tiny, total, total, value=1 / K).div_(squares)
        exponent = torch.add(grads.new_tensor(-self.tau), ratio, alpha=self.tau, out=ratio)
        return exponent.exp_().mul_(total).div_(K)

    def project(
        self,
        direction: Float[Tensor, "m n"],
        rank: int,
        test_matrix: Float[Tensor, "n columns"] | None = None,
    ) -> Float[Tensor, "m n"] | LowRank:
        if self.svd == "none":
            return direction
        return truncated_svd(
            direction,
            self.rank or rank,
            method=self.svd,
            test_matrix=test_matrix,
            power_iterations=self.power_iterations,
        )

    def test_columns(self, rank: int) -> int:
        return (self.rank or rank) + self.oversample if self.svd == "randomized" else 0
