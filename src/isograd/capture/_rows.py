"""How the rows of a micro-batch, and their tokens, fall into domains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isograd.common.errors import UserError

__all__ = ["RowPlan", "Segment", "plan_rows", "token_segments"]

Segment = tuple[int, int, int]
"""Group, first token, and one past the last token of a run of tokens that belong to one group."""

# Mean tokens per segment below which tokens are copied together first. Measured on a CPU, layers of 128 to 1408
# features: products over segments of 112 tokens cost what one long product does, over segments of 28 a tenth to a half
# more, which is what the copy costs; below that the copy wins. On a GPU more products are more launches.
_LONG_SEGMENT = {"cpu": 32}
_LONG_SEGMENT_ELSEWHERE = 1024


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Rows of one micro-batch and the groups whose gradients are kept apart.

    Attributes:
        groups: group of each row: its domain k, or ``i * K + k`` where the gradients of set i stay apart.
        sets: 1, or the number of isomer sets kept apart.
        counts: rows of each domain, K numbers.
        paired: whether sets are kept apart, though there may be only one.
    """

    groups: list[int]
    sets: int
    counts: list[int]
    paired: bool = False

    @property
    def rows(self) -> int:
        return len(self.groups)

    @property
    def num_groups(self) -> int:
        return self.sets * len(self.counts)

    @property
    def scale(self) -> int:
        """What a group's share of the loss ``mean_k L_k`` is multiplied by: K, and the number of sets kept apart."""
        return self.num_groups


def plan_rows(domains: Tensor, num_domains: int, *, paired: bool = False) -> RowPlan:
    """Check and count.

    Args:
        domains: integer domain index of each row, [rows].
        num_domains: K.
        paired: keep the gradients of each isomer set apart; the i-th rows of all domains are set i.

    Raises:
        UserError: not a one-dimensional integer tensor, empty, an index outside 0 .. K - 1, or sets that lack members.
    """
    if domains.dim() != 1 or domains.numel() == 0 or domains.is_floating_point() or domains.dtype == torch.bool:
        shape, dtype = tuple(domains.shape), domains.dtype
        raise UserError(f"domains has shape {shape} and dtype {dtype}; give one integer domain index per row")
    index: list[int] = domains.tolist()
    for domain in index:
        if not 0 <= domain < num_domains:
            raise UserError(f"domains holds {domain}; indices go from 0 to {num_domains - 1}")
    counts = [index.count(k) for k in range(num_domains)]
    if not paired:
        return RowPlan(index, 1, counts)
    if min(counts) != max(counts):
        raise UserError(f"the domains have {counts} rows; variance within sets needs whole isomer sets")
    met = [0] * num_domains
    groups = []
    for domain in index:
        groups.append(met[domain] * num_domains + domain)
        met[domain] += 1
    return RowPlan(groups, counts[0], counts, paired=True)


def token_segments(
    plan: RowPlan, x: Float[Tensor, "rows *length n"], grad: Float[Tensor, "rows *length m"]
) -> tuple[Float[Tensor, "tokens n"], Float[Tensor, "tokens m"], list[Segment]]:
    """Tokens of the batch and the runs of them that matter, by group.

    Tokens whose output gradient is exactly zero (padding; the prompt, in the last layers) add nothing to ``grad' x``,
    so leaving them out is exact.

    Returns:
        Inputs and output gradients of all tokens, and segments of them: the live range of each row, neighbors of one
        group joined. Where these are short, the live tokens are copied together, one segment per group.
    """
    X, D = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
    length = D.shape[0] // plan.rows
    live = _live(D).view(plan.rows, length).cpu()
    marks = live.numpy().tobytes()
    segments: list[Segment] = []
    for row, group in enumerate(plan.groups):
        start = marks.find(1, row * length, (row + 1) * length)
        if start < 0:
            continue
        end = marks.rfind(1, row * length, (row + 1) * length) + 1
        if segments and segments[-1][0] == group and segments[-1][2] == start:
            segments[-1] = (group, segments[-1][1], end)
        else:
            segments.append((group, start, end))
    tokens = sum(end - start for _, start, end in segments)
    if tokens >= len(segments) * _LONG_SEGMENT.get(D.device.type, _LONG_SEGMENT_ELSEWHERE):
        return X, D, segments
    return _copied_together(plan, X, D, live)


def _copied_together(
    plan: RowPlan, X: Tensor, D: Tensor, live: Bool[Tensor, "rows length"]
) -> tuple[Tensor, Tensor, list[Segment]]:
    order = torch.tensor(plan.groups).argsort(stable=True)
    index = torch.arange(live.numel()).view_as(live)[order][live[order]].to(D.device)
    segments, start = [], 0
    per_row = live.sum(1).tolist()
    for group in sorted(set(plan.groups)):
        kept = sum(count for count, other in zip(per_row, plan.groups, strict=True) if other == group)
        if kept:
            segments.append((group, start, start + kept))
        start += kept
    return X.index_select(0, index), D.index_select(0, index), segments


def _live(D: Float[Tensor, "tokens m"]) -> Bool[Tensor, " tokens"]:
    """Which rows of D hold anything but zeros."""
    # One cache line of a row nearly always shows that it is alive; only where it does not, all of the row is read.
    live = D[:, :16].abs().amax(-1) != 0
    doubtful = (~live).nonzero().squeeze(-1)
    if doubtful.numel():
        live[doubtful] = D.index_select(0, doubtful).abs().amax(-1) != 0
    return live
