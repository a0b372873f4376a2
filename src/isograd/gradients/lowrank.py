"""Low-rank linear algebra on the gradient of W = W0 + s * B @ A: truncated SVD and the chain rule to the factors.

All functions are pure and work on any device. m and n are the output and input features of a layer, r its rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.errors import UserError
from isograd.common.seeding import derive_seed

__all__ = ["LowRank", "chain_rule", "gaussian_test_matrix", "truncated_svd"]


@dataclass(frozen=True)
class LowRank:
    """The matrix ``left @ right`` of rank at most r, kept as two thin factors."""

    left: Float[Tensor, "m r"]
    right: Float[Tensor, "r n"]

    def dense(self) -> Float[Tensor, "m n"]:
        """The product, as one dense matrix."""
        return self.left @ self.right


def gaussian_test_matrix(
    n: int, columns: int, *, seed: int = 0, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Float[Tensor, "n columns"]:
    """Standard normal entries from a generator named by the shape and the seed: equal on every device and in any order.

    Drawn on the CPU in float32, so that runs in different precisions sketch with the same matrix.
    """
    generator = torch.Generator().manual_seed(derive_seed("gradients", "test matrix", seed, n, columns))
    return torch.randn(n, columns, generator=generator, dtype=torch.float32).to(device=device, dtype=dtype)


def truncated_svd(
    G: Float[Tensor, "m n"],
    rank: int,
    *,
    method: Literal["randomized", "exact"] = "randomized",
    test_matrix: Float[Tensor, "n columns"] | None = None,
    oversample: int = 8,
    power_iterations: int = 1,
) -> LowRank:
    """The best approximation of G by a matrix of the given rank, exactly or nearly.

    "exact" is LAPACK's SVD. "randomized" is the range finder of Halko, Martinsson and Tropp (arXiv 0909.4061,
    algorithms 4.4 and 5.1): an orthonormal basis Q of ``(G G')^q G Omega``, then the best approximation within it.
    Orthonormalization and the small factorization go through Gram matrices in float64, which is OURS: for float32 it
    costs a few products of thin matrices and resolves all that float32 holds.

    Args:
        G: any matrix, also rank-deficient or all zero. If it holds a NaN or an infinity, so does the result.
        rank: r >= 1; a rank above min(m, n) gives min(m, n).
        method: "randomized" or "exact".
        test_matrix: Omega, of r + oversample columns (then ``oversample`` is not used); by default
            :func:`gaussian_test_matrix` of seed 0.
        oversample: columns beyond r.
        power_iterations: q.

    Returns:
        ``LowRank(U, S V')``: ``left`` has orthonormal columns (zero columns where G has no such rank), ``right``
        carries the singular values, in descending order.

    Raises:
        UserError: rank < 1, or a test matrix with fewer than ``rank`` columns.
    """
    if rank < 1:
        raise UserError(f"truncated_svd: rank is {rank}; use an integer >= 1")
    rank = min(rank, *G.shape)
    if method == "exact":
        return _exact_svd(G, rank)
    if test_matrix is None:
        test_matrix = gaussian_test_matrix(G.shape[1], rank + oversample, dtype=G.dtype, device=G.device)
    if test_matrix.shape[1] < rank:
        raise UserError(f"truncated_svd: test_matrix has {test_matrix.shape[1]} columns; give at least {rank}")
    # More than min(m, n) columns cannot be orthonormal.
    Q = _orthonormal(G @ test_matrix[:, : min(G.shape)])
    for _ in range(power_iterations):
        Q = _orthonormal(G @ _orthonormal((Q.mT @ G).mT))  # G.mT @ Q, the faster way round on a CPU
    small = Q.mT @ G
    wide = small.double()
    # nan_to_num: eigh raises on NaN; the NaN comes back through Q and small. On the CPU: a handful of columns.
    _, vectors = torch.linalg.eigh(torch.nan_to_num(wide @ wide.mT).cpu())
    rotation = vectors[:, -rank:].flip(-1).to(small)
    return LowRank(Q @ rotation, rotation.mT @ small)


def chain_rule(
    G: Float[Tensor, "m n"] | LowRank, A: Float[Tensor, "r n"], B: Float[Tensor, "m r"], scaling: float
) -> tuple[Float[Tensor, "r n"], Float[Tensor, "m r"]]:
    """Gradients of the factors from the gradient of ``W = W0 + scaling * B @ A``.

    ``dA = s B' G`` and ``dB = s G A'``; a low-rank G is never made dense.

    Returns:
        ``(dA, dB)`` in the dtype of G.
    """
    if isinstance(G, LowRank):
        A, B = A.to(G.left.dtype), B.to(G.left.dtype)
        return (scaling * (B.mT @ G.left)) @ G.right, G.left @ (scaling * (G.right @ A.mT))
    return (scaling * B.to(G.dtype)).mT @ G, G @ (scaling * A.to(G.dtype)).mT


def _exact_svd(G: Tensor, rank: int) -> LowRank:
    if not torch.isfinite(G).all():  # LAPACK raises; a NaN gradient has to reach the optimizer like any other
        return LowRank(G.new_full((G.shape[0], rank), torch.nan), G.new_full((rank, G.shape[1]), torch.nan))
    U, S, Vh = torch.linalg.svd(G, full_matrices=False)
    return LowRank(U[:, :rank], S[:rank, None] * Vh[:rank])


def _orthonormal(Y: Float[Tensor, "m l"]) -> Float[Tensor, "m l"]:
    """Orthonormal columns that span those of Y; directions lost in Y's rounding may come out shorter than 1.

    Shifted Cholesky QR: ``Y'Y + shift = R'R``, ``Q = Y / R``. The shift keeps a singular Gram matrix factorizable;
    it shortens only directions weaker than about 1e-7 of the strongest. A float64 Y resolves more than that, so it
    goes through twice.
    """
    wide = Y.double()
    for _ in range(2 if Y.dtype == torch.float64 else 1):
        gram = wide.mT @ wide
        diagonal = gram.diagonal()
        # The absolute part is for an all-zero Y: then R is tiny and Q is zero, not NaN.
        diagonal += 1e-14 * diagonal.sum() + 1e-290
        factor, _ = torch.linalg.cholesky_ex(gram)
        wide = torch.linalg.solve_triangular(factor.mT, wide, upper=True, left=False)
    return wide.to(Y.dtype)
