"""PCGrad: gradient surgery."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import GlobalMethod

__all__ = ["PCGrad"]


@dataclass(frozen=True)
class PCGrad(GlobalMethod):
    """Projecting conflicting gradients: Yu et al., NeurIPS 2020, arXiv 2001.06782, algorithm 1.

    Each gradient loses its component along every other one that it conflicts with, one after the other in random
    order; then the mean is taken::

        p_i = g_i;  for j != i in random order: if p_i' g_j < 0: p_i <- p_i - (p_i' g_j / ||g_j||^2) g_j
        D = (1/K) sum_i p_i

    The paper sums; the mean is OURS, so that the scale is that of one gradient and the learning rate means the same for
    every method. All of it is done in the coordinates of the Gramian. Equal domains, and domains that do not conflict,
    give the mean gradient. Shapes: g_k, p_k and D [p], the p elements of all A and B; their Gramian [K K],
    the weights [K]. It has no parameters.
    """

    def weights(self, gramian: Float[Tensor, "K K"], rng: random.Random) -> Float[Tensor, " K"]:
        K = len(gramian)
        total = torch.zeros(K, dtype=gramian.dtype)
        for i in range(K):
            others = [j for j in range(K) if j != i]
            rng.shuffle(others)
            own = torch.zeros(K, dtype=gramian.dtype)
            own[i] = 1.0
            for j in others:
                product = gramian[j] @ own
                if product < 0:
                    own[j] -= product / gramian[j, j]
            total += own
        return total / K
