"""Gradients of one layer by group, ``G_g = scale * D_g' X_g``, whole or a few rows of W at a time.

A group is a domain, or a member of one isomer set where the gradients of sets are kept apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.capture._rows import RowPlan, Segment
from isograd.gradients import LocalMethod

__all__ = ["accumulate", "by_set", "merge_dense", "merge_tokens", "upcast"]

# Bytes of the [K, tile, n] buffer. Measured on a CPU with 2 MiB of second-level cache per core: 1 to 32 MiB are within
# a tenth of each other, 0.25 MiB takes half as long again (small products). On a GPU every tile costs launches.
_TILE_BYTES = {"cpu": 2**21}
_TILE_BYTES_ELSEWHERE = 2**28


def merge_tokens(
    method: LocalMethod,
    X: Float[Tensor, "tokens n"],
    D: Float[Tensor, "tokens m"],
    segments: list[Segment],
    plan: RowPlan,
) -> Float[Tensor, "m n"]:
    """The merged direction of a layer straight from its tokens; the dense gradients never exist at once.

    Args:
        method: its ``merge`` is called on blocks of rows of W.
        X, D: inputs and output gradients of all tokens.
        segments: which of them belong to which group.
        plan: how many groups there are.
    """
    X, D = upcast(X, D)
    groups, m, n = plan.num_groups, D.shape[1], X.shape[1]
    tile = _tile_rows(X, groups, m)
    buffer = X.new_empty(groups, tile, n, dtype=_gradient_dtype(X))
    direction = buffer.new_empty(m, n)
    for start in range(0, m, tile):
        block = buffer[:, : min(tile, m - start)]
        _products(block, X, D[:, start : start + tile], segments, plan.scale, fresh=True)
        direction[start : start + tile] = method.merge(by_set(block, plan))
    return direction


def accumulate(
    total: Float[Tensor, "groups m n"] | None,
    X: Float[Tensor, "tokens n"],
    D: Float[Tensor, "tokens m"],
    segments: list[Segment],
    plan: RowPlan,
) -> Float[Tensor, "groups m n"]:
    """Add the gradients of these tokens to ``total``, in place; None begins a new total."""
    X, D = upcast(X, D)
    fresh = total is None
    if total is None:
        total = X.new_empty(plan.num_groups, D.shape[1], X.shape[1], dtype=_gradient_dtype(X))
    _products(total, X, D, segments, plan.scale, fresh=fresh)
    return total


def merge_dense(method: LocalMethod, grads: Float[Tensor, "K m n"]) -> Float[Tensor, "m n"]:
    """The merged direction from accumulated gradients, tile by tile so that temporaries stay small."""
    K, m, _ = grads.shape
    tile = _tile_rows(grads, K, m)
    direction = grads.new_empty(grads.shape[1:])
    for start in range(0, m, tile):
        direction[start : start + tile] = method.merge(grads[:, start : start + tile])
    return direction


def by_set(grads: Float[Tensor, "groups m n"], plan: RowPlan) -> Float[Tensor, "*sets K m n"]:
    """The same gradients with a dimension for sets, where sets are kept apart."""
    return grads.unflatten(0, (plan.sets, -1)) if plan.paired else grads


def upcast(X: Tensor, D: Tensor) -> tuple[Tensor, Tensor]:
    """Half-precision rows in a form whose products are summed in float32.

    X takes the dtype of D first: that is the precision in which the layer multiplied it (autocast).
    """
    X = X.to(D.dtype)
    if D.dtype in (torch.bfloat16, torch.float16) and not D.is_cuda:
        return X.float(), D.float()
    return X, D


def _tile_rows(like: Tensor, K: int, m: int) -> int:
    row_bytes = K * like.shape[-1] * max(4, like.element_size())
    rows = _TILE_BYTES.get(like.device.type, _TILE_BYTES_ELSEWHERE) // row_bytes
    return min(m, max(16, rows // 16 * 16))


def _gradient_dtype(X: Tensor) -> torch.dtype:
    return torch.float64 if X.dtype == torch.float64 else torch.float32


def _products(out: Tensor, X: Tensor, D: Tensor, segments: list[Segment], scale: int, *, fresh: bool) -> None:
    """Add ``scale * D_g' X_g`` to ``out_g`` for each group g; ``fresh``: whatever is in ``out`` does not count."""
    groups = out.shape[0]
    begun = [not fresh] * groups
    for group, start, end in segments:
        D_g, X_g, target = D[start:end].mT, X[start:end], out[group]
        if out.dtype == X.dtype:
            torch.addmm(target, D_g, X_g, beta=int(begun[group]), alpha=scale, out=target)
        else:  # CUDA multiplies half precision at full speed and sums into float32
            product = torch.mm(D_g, X_g, out_dtype=out.dtype).mul_(scale)
            target.copy_(target + product if begun[group] else product)
        begun[group] = True
    for group in range(groups):
        if not begun[group]:  # a group whose every token has gradient zero
            out[group].zero_()
