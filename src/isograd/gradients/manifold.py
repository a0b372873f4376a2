"""Geometry of B @ A with r columns in B: its tangent space, and the way back to rank r."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.errors import UserError
from isograd.gradients.lowrank import LowRank, truncated_svd

__all__ = ["retract", "tangent_factors", "tangent_projection"]


def tangent_factors(
    G: Float[Tensor, "m n"], A: Float[Tensor, "r n"], B: Float[Tensor, "m r"]
) -> tuple[Float[Tensor, "r n"], Float[Tensor, "m r"]]:
    """Factor updates whose first-order effect on ``B @ A`` is the tangent projection of G.

    ``dA = B^+ G`` and ``dB = (I - B B^+) G A^+`` with Moore-Penrose inverses, so that
    ``B @ dA + dB @ A == tangent_projection(G, A, B)``. Many pairs do that (A and B have r^2 coordinates too many);
    this one puts into dA all that the columns of B can express. A factor of 0 has inverse 0.

    Returns:
        ``(dA, dB)``.
    """
    B_inverse = torch.linalg.pinv(B)
    dA = B_inverse @ G
    return dA, (G - B @ dA) @ torch.linalg.pinv(A)


def tangent_projection(
    G: Float[Tensor, "m n"], A: Float[Tensor, "r n"], B: Float[Tensor, "m r"]
) -> Float[Tensor, "m n"]:
    """The part of G that a first-order change of A and B can follow.

    ``P_U G + G P_V - P_U G P_V``, where P_U projects onto the columns of B and P_V onto the rows of A. For B and A of
    full rank r this is the orthogonal projection onto the tangent space of the matrices of rank r at ``B @ A``
    (Vandereycken, arXiv 1209.3834). Where B or A has lower rank, ``B @ A`` is no smooth point of that set;
    the formula still is the orthogonal projection onto ``{B X + Y A}``, all that LoRA can do to first order. For a
    fresh adapter, B = 0, it is ``G P_V``.

    Returns:
        A dense [m n] matrix.
    """
    dA, dB = tangent_factors(G, A, B)
    return B @ dA + dB @ A


def retract(
    A: Float[Tensor, "r n"], B: Float[Tensor, "m r"], delta: Float[Tensor, "m n"] | LowRank, rank: int
) -> tuple[Float[Tensor, "rank n"], Float[Tensor, "m rank"]]:
    """The best approximation of ``B @ A + delta`` of the given rank, as balanced factors.

    Truncation of the SVD is the metric projection onto the matrices of rank at most ``rank`` (Eckart and Young 1936).
    Balanced means ``B' B == A A'``, diagonal with the singular values: neither factor outgrows the other. With a
    low-rank delta the dense m x n matrix is never formed: QR of the stacked factors, then the SVD of a small matrix.

    Args:
        A, B: the current factors; a scaling s is the caller's (retract ``s * B`` and divide, or scale delta by 1/s).
        delta: the step in the space of ``B @ A``.
        rank: of the result; where m, n or the stacked rank is smaller, the factors are filled with zeros.

    Returns:
        ``(A', B')`` of exactly the given rank's shape.

    Raises:
        UserError: rank < 1.
    """
    if rank < 1:
        raise UserError(f"retract: rank is {rank}; use an integer >= 1")
    if isinstance(delta, LowRank):
        Q_left, R_left = torch.linalg.qr(torch.cat([B, delta.left], dim=1))
        Q_right, R_right = torch.linalg.qr(torch.cat([A, delta.right], dim=0).mT)
        core = truncated_svd(R_left @ R_right.mT, rank, method="exact")
        best = LowRank(Q_left @ core.left, core.right @ Q_right.mT)
    else:
        best = truncated_svd(B @ A + delta, rank, method="exact")
    # right = S V' has rows of length S; split S evenly between the factors.
    root = torch.linalg.vector_norm(best.right, dim=1).sqrt()
    safe = torch.where(root > 0, root, torch.ones_like(root))
    missing = rank - root.shape[0]
    new_A = torch.nn.functional.pad(best.right / safe[:, None], (0, 0, 0, missing))
    new_B = torch.nn.functional.pad(best.left * root, (0, missing))
    return new_A, new_B
