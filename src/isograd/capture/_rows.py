"""How the rows of a micro-batch fall into domains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.errors import UserError

__all__ = ["RowPlan", "gather_tokens", "plan_rows"]

# Copying the rows that matter pays when this share of them or more is zero: a copy reads and writes every kept row,
# the products they would have taken part in cost hundreds of times that.
_DROP_SHARE = 1 / 16


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Rows of one micro-batch, grouped by domain.

    Attributes:
        counts: rows of each domain, K numbers.
        order: the rows sorted by domain, or None where they are in that order already.
    """

    counts: list[int]
    order: Tensor | None

    @property
    def rows(self) -> int:
        return sum(self.counts)


def plan_rows(domains: Tensor, num_domains: int) -> RowPlan:
    """Sort rows by domain.

    Args:
        domains: integer domain index of each row, [rows].
        num_domains: K.

    Raises:
        UserError: not a one-dimensional integer tensor, empty, or an index outside 0 .. K - 1.
    """
    if domains.dim() != 1 or domains.numel() == 0 or domains.is_floating_point() or domains.dtype == torch.bool:
        shape, dtype = tuple(domains.shape), domains.dtype
        raise UserError(f"domains has shape {shape} and dtype {dtype}; give one integer domain index per row")
    index = domains.detach().cpu().long()
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= num_domains:
        raise UserError(f"domains holds {low if low < 0 else high}; indices go from 0 to {num_domains - 1}")
    ordered = bool((index[1:] >= index[:-1]).all())
    return RowPlan(
        counts=torch.bincount(index, minlength=num_domains).tolist(),
        order=None if ordered else index.argsort(stable=True),
    )


def gather_tokens(
    plan: RowPlan, x: Float[Tensor, "rows ... n"], grad: Float[Tensor, "rows ... m"]
) -> tuple[Float[Tensor, "tokens n"], Float[Tensor, "tokens m"], list[int]]:
    """Tokens sorted by domain, without those whose output gradient is exactly zero (padding, mostly).

    A zero row of ``grad`` adds nothing to ``grad' x``, so leaving it out is exact.

    Returns:
        Inputs, output gradients, and the number of tokens of each domain.
    """
    if plan.order is not None:
        order = plan.order.to(x.device)
        x, grad = x.index_select(0, order), grad.index_select(0, order)
    per_row = grad[0].numel() // grad.shape[-1]
    X, D = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
    tokens = [count * per_row for count in plan.counts]
    # The largest entry, not the norm: squares of small gradients vanish before they do.
    live = torch.linalg.vector_norm(D, ord=torch.inf, dim=-1) != 0
    alive = live.split(tokens)
    kept = torch.stack([part.sum() for part in alive]).tolist()
    if sum(kept) > (1 - _DROP_SHARE) * D.shape[0]:
        return X, D, tokens
    index = live.nonzero().squeeze(-1)
    return X.index_select(0, index), D.index_select(0, index), kept
