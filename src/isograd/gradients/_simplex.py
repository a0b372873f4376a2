"""Small convex problems on the simplex, solved to machine precision in float64."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["minimize_on_simplex"]


def minimize_on_simplex(Q: Float[Tensor, "K K"], b: Float[Tensor, " K"]) -> Float[Tensor, " K"]:
    """The point a of the simplex that minimizes ``0.5 a' Q a + b' a``, by a primal active-set method.

    Args:
        Q: symmetric, positive semidefinite, float64.
        b: float64.

    Returns:
        A minimizer; where several points minimize, one of them. NaN if Q or b holds a NaN or an infinity.
    """
    K = len(b)
    if not (Q.isfinite().all() and b.isfinite().all()):  # LAPACK raises; a NaN has to reach the optimizer
        return torch.full_like(b, torch.nan)
    scale = max(float(Q.diagonal().abs().max()), float(b.abs().max()), torch.finfo(Q.dtype).tiny)
    # A ridge of rounding's own size makes every face's problem solvable and its solution unique.
    Q, b = Q / scale + 1e-14 * torch.eye(K, dtype=Q.dtype), b / scale
    point = torch.zeros(K, dtype=Q.dtype)
    point[int((0.5 * Q.diagonal() + b).argmin())] = 1.0
    free = point > 0
    for _ in range(50 * K):
        target = _on_face(Q, b, free)
        if (target[free] > 0).all():
            point = target
            slope = Q @ point + b
            slack = slope - slope[free].min()
            slack[free] = 0.0
            worst = int(slack.argmin())
            if slack[worst] >= -1e-12:
                return point
            free[worst] = True
        else:
            # As far towards the target as the first coordinate to reach zero allows.
            falling = free & (target <= 0)
            ratios = torch.where(falling, point / (point - target), torch.inf)
            step = float(ratios.min())
            point = torch.where(free, point + step * (target - point), 0.0)
            blocked = int(ratios.argmin())
            point[blocked] = 0.0
            free[blocked] = False
    return point


def _on_face(Q: Tensor, b: Tensor, free: Tensor) -> Tensor:
    """The minimizer under ``sum a = 1`` and ``a = 0`` off the face, of any sign on it."""
    index = free.nonzero().squeeze(-1)
    size = len(index)
    system = torch.zeros(size + 1, size + 1, dtype=Q.dtype)
    system[:size, :size] = Q[index][:, index]
    system[:size, size] = system[size, :size] = 1.0
    right = torch.cat([-b[index], b.new_ones(1)])
    solution = torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution[:size, 0]
    target = torch.zeros_like(b)
    target[index] = solution
    return target
