"""CAGrad: near the mean gradient, and good for the worst domain."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import GlobalMethod
from isograd.gradients._checks import non_negative
from isograd.gradients._simplex import minimize_on_simplex
from isograd.gradients.search import Distribution, Uniform

__all__ = ["CAGrad"]

_ZERO = 1e-7
"""Shorter than this, relative to the longest gradient, is nothing: the root of a Gramian's entries is good to 1e-8."""


@dataclass(frozen=True)
class CAGrad(GlobalMethod):
    """Conflict-averse gradient descent: Liu et al., NeurIPS 2021, arXiv 2110.14048.

    The direction D that helps the worst domain most, within a ball around the mean gradient g::

        max_D min_k g_k' D   subject to   || D - g || <= c || g ||

    Its dual: with ``g_a = sum_k a_k g_k`` and a on the simplex minimizing ``g_a' g + c ||g|| ||g_a||``,
    ``D = g + (c ||g|| / ||g_a||) g_a``. Solved exactly: the minimum over a of the dual is that over s > 0 of a
    quadratic problem, since ``||x|| = min_s (||x||^2 / s + s) / 2``. OURS: D is divided by ``1 + c`` (the authors' code
    offers that, or ``1 + c^2``, or nothing), so that equal domains give the mean gradient; and
    D = g where g_a = 0, a Pareto-stationary point, which no direction leaves to the good of all. Shapes: g_k and D [p],
    the p elements of all A and B; their Gramian [K K], a and the weights [K]. The scale is that of one gradient.

    Attributes:
        c: radius of the ball, >= 0; 0 is the mean gradient. From 1 on the mean gradient's own descent is no longer
            guaranteed. Default 0.5: the authors', who also use 0.4.

    Raises:
        UserError: ``c`` is out of its range.
    """

    search: ClassVar[Mapping[str, Distribution]] = {"c": Uniform(0.1, 0.9)}

    c: float = 0.5

    def __post_init__(self) -> None:
        non_negative("cagrad", "c", self.c)

    def weights(self, gramian: Float[Tensor, "K K"], rng: random.Random) -> Float[Tensor, " K"]:
        del rng
        K = len(gramian)
        even = torch.full((K,), 1 / K, dtype=gramian.dtype)
        radius = self.c * (even @ gramian @ even).clamp(min=0).sqrt()
        a = _dual(gramian, gramian @ even, float(radius)) if radius > 0 else even
        length = (a @ gramian @ a).clamp(min=0).sqrt()
        # g_a = 0: no direction improves the worst domain.
        zero = _ZERO * gramian.diagonal().max().sqrt()
        away = radius / length if length > zero else torch.zeros_like(length)
        return (even + away * a) / (1 + self.c if away > 0 else 1.0)


def _dual(gramian: Tensor, toward: Tensor, radius: float) -> Tensor:
    """The a on the simplex that minimizes ``a' toward + radius * sqrt(a' gramian a)``."""
    # The best s equals the length of g_a at that s; where it lies below, the length lies below it too. From face to
    # face of the simplex, a handful at most: on the right one a step is exact. Bisection where that steps outside.
    scale = float(gramian.diagonal().max().sqrt())
    low, high, s = 0.0, 2 * scale, scale
    for _ in range(60):
        a = minimize_on_simplex(gramian * (radius / s), toward)
        length = float((a @ gramian @ a).clamp(min=0).sqrt())
        low, high = (s, high) if length > s else (low, s)
        # Lengths are roots of entries of the Gramian, with the errors of these.
        step = max(_length_on_face(gramian, toward, radius, a > 0), 0.5 * _ZERO * scale)
        if abs(step - s) <= 1e-13 * s + 1e-15 * scale * (scale / s) or high <= 0.5 * _ZERO * scale:
            break
        s = step if low < step < high else (low + high) / 2
    return a


def _length_on_face(gramian: Tensor, toward: Tensor, radius: float, face: Tensor) -> float:
    """The s that equals the length of g_a at that s, were the minimizing a on this face; infinite where there is none.

    By the conditions of optimality ``a(s) = shortest + s * tilt``, and the two are orthogonal under the Gramian.
    """
    index = face.nonzero().squeeze(-1)
    size = len(index)
    if size == 0:  # a is NaN, and stays it
        return math.inf
    system = gramian.new_zeros(size + 1, size + 1)
    system[:size, :size] = gramian[index][:, index]
    system[:size, size] = system[size, :size] = float(gramian.diagonal().max())
    right = gramian.new_zeros(size + 1, 2)
    right[:size, 1] = -toward[index] / radius
    right[size, 0] = system[size, 0]
    shortest, tilt = torch.linalg.lstsq(system, right, driver="gelsd").solution[:size].unbind(1)
    products = system[:size, :size]
    slope = 1 - float(tilt @ products @ tilt)
    return math.sqrt(max(0.0, float(shortest @ products @ shortest)) / slope) if slope > 0 else math.inf
