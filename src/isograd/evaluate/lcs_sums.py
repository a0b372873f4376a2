"""Distances of pooled states by running sums: what is kept does not grow with the number of sets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["BLOCK", "COLLAPSED", "CkaSums", "Consistency", "CosineSums", "pairwise_distances"]

COLLAPSED = 1e-3
"""Cosine distance between different problems below which a representation counts as collapsed.

Twice a cosine distance is the squared distance of two states of length 1: this is 4.5 percent of their length.
"""
BLOCK = 64
"""Sets over which one estimate of CKA is taken."""
FEWEST = 4
"""Sets that the unbiased estimate of HSIC needs."""
_FLAT = 1e-24
"""Squared variance over squared mean square: below, states in float32 differ by nothing but rounding."""


@dataclass(frozen=True)
class Consistency:
    """Mean distances of pooled states.

    Attributes:
        within: between the members of one set: the LCS, lower is more consistent.
        between: between members of different sets in different domains: pairs that differ in the words as much as
            those within a set do, and in the logic besides. A collapsed representation has both near zero, and one
            that holds words alone has both equal, so the LCS says nothing without it.

    One member a set leaves both, and a single set leaves ``between``, NaN.
    """

    within: float
    between: float


class CosineSums:
    """Cosine distances over all pairs, exactly, from sums of unit vectors.

    The paper (arXiv 2606.05025) gives no formula; this one is isograd's:

        LCS = mean over sets of (1 / (K (K - 1))) * sum over members i != j of (1 - cos(h_i, h_j))

    With u_sk the unit vector of set s in domain k, the cosines of the pairs of different domains sum to
    |sum_k u_sk|^2 - sum_k |u_sk|^2 within set s, and to |sum_sk u_sk|^2 - sum_k |sum_s u_sk|^2 over all sets.
    """

    def __init__(self) -> None:
        self._sets = 0
        self._members = 0
        self._own = 0.0
        self._sums: Tensor | None = None

    def add(self, states: Float[Tensor, "n K d"]) -> None:
        """Count n more sets of K members, the domains in the same order in each."""
        unit = F.normalize(states.double(), dim=-1)
        self._sets += len(unit)
        self._members = unit.shape[1]
        self._own += (unit.sum(1).square().sum() - unit.square().sum()).item()
        sums = unit.sum(0)
        self._sums = sums if self._sums is None else self._sums + sums

    def result(self) -> Consistency:
        """The distances over all sets so far."""
        within = self._sets * self._members * (self._members - 1)
        between = within * (self._sets - 1)
        every = 0.0
        if self._sums is not None:
            every = (self._sums.sum(0).square().sum() - self._sums.square().sum()).item()
        return Consistency(
            # Rounding may leave a distance of -1e-16.
            within=max(0.0, 1 - self._own / within) if within else math.nan,
            between=max(0.0, 1 - (every - self._own) / between) if between else math.nan,
        )


def pairwise_distances(states: Float[Tensor, "n K d"]) -> Consistency:
    """Cosine distances of stored states (:class:`CosineSums`)."""
    sums = CosineSums()
    sums.add(states)
    return sums.result()


class CkaSums:
    """One minus linear CKA between domains, averaged over pairs of domains.

    Each set is one example, seen by K domains as by K networks: X_a holds domain a's states, one row a set.

        CKA(a, b) = HSIC(a, b) / sqrt(HSIC(a, a) * HSIC(b, b))

    HSIC is the unbiased estimate HSIC_1 of Song et al. 2012 (JMLR 13) with linear kernels, averaged over blocks of
    :data:`BLOCK` sets as in Nguyen et al. 2021 (arXiv 2010.15327), so that nothing of size n x n or d x d is held;
    with at most that many sets it is the debiased CKA itself. A last block of fewer than four sets is left out.
    ``between`` pairs each set with the next one in its block: unrelated problems, whose HSIC is near zero, so that the
    distance is near 1; how far it is from 1 tells how noisy the estimate is.

    CKA does not change when the states of one domain are turned, moved or scaled together. It is therefore blind to
    what sets a whole domain apart, which the cosine form counts, and it needs more sets than the cosine form.
    """

    def __init__(self) -> None:
        self._waiting: list[Tensor] = []
        self._hsic: Tensor | None = None
        self._shifted: Tensor | None = None
        self._size = 0.0
        self._sets = 0

    def add(self, states: Float[Tensor, "n K d"]) -> None:
        """Count n more sets of K members, the domains in the same order in each."""
        for row in states:
            # A copy: a row of a view would keep the whole batch.
            self._waiting.append(row.clone())
            if len(self._waiting) == BLOCK:
                self._sets, self._size, self._hsic, self._shifted = self._with_block()
                self._waiting = []

    def _with_block(self) -> tuple[int, float, Tensor, Tensor]:
        """The sums, with those of the waiting sets."""
        block = torch.stack(self._waiting).double().transpose(0, 1)
        number = block.shape[1]
        size = self._size + block.square().sum(-1).mean().item() * number
        # HSIC_1 does not depend on the means; without them it loses no digits.
        block = block - block.mean(1, keepdim=True)
        kernels = block @ block.mT
        kernels.diagonal(dim1=1, dim2=2).zero_()
        # Set after set, in a circle: each meets another one's state in the other domain.
        other = kernels.roll((1, 1), (1, 2))
        hsic, shifted = _hsic(kernels, kernels) * number, _hsic(kernels, other) * number
        if self._hsic is not None and self._shifted is not None:
            hsic, shifted = self._hsic + hsic, self._shifted + shifted
        return self._sets + number, size, hsic, shifted

    def result(self) -> Consistency:
        """The distances over all sets so far; NaN where there are too few, or the states do not vary."""
        sets, size, hsic, shifted = self._sets, self._size, self._hsic, self._shifted
        if len(self._waiting) >= FEWEST:
            sets, size, hsic, shifted = self._with_block()
        if hsic is None or shifted is None or len(hsic) < 2:
            return Consistency(math.nan, math.nan)
        own = hsic.diagonal()
        if (own / sets <= _FLAT * (size / sets) ** 2).any():
            return Consistency(math.nan, math.nan)
        scale = (own[:, None] * own[None]).sqrt()
        apart = ~torch.eye(len(own), dtype=torch.bool)
        within, between = (1 - (sums / scale)[apart].mean().item() for sums in (hsic, shifted))
        return Consistency(within, between)


def _hsic(first: Float[Tensor, "K n n"], second: Float[Tensor, "K n n"]) -> Float[Tensor, "K K"]:
    """HSIC_1 of each kernel matrix of the one with each of the other; their diagonals are zero."""
    number = first.shape[1]
    rows, others = first.sum(-1), second.sum(-1)
    traces = torch.einsum("aij,bij->ab", first, second)
    totals = rows.sum(-1)[:, None] * others.sum(-1)[None] / ((number - 1) * (number - 2))
    return (traces + totals - 2 / (number - 2) * rows @ others.mT) / (number * (number - 3))
