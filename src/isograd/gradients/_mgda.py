"""MGDA: the shortest vector in the convex hull of the gradients."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import GlobalMethod
from isograd.gradients._checks import one_of
from isograd.gradients._simplex import minimize_on_simplex
from isograd.gradients.search import Choice, Distribution

__all__ = ["Mgda"]


@dataclass(frozen=True)
class Mgda(GlobalMethod):
    """Multiple-gradient descent: Desideri 2012; Sener and Koltun, NeurIPS 2018, arXiv 1810.04650.

    ::

        D = sum_k a_k g_k   with a on the simplex minimizing || sum_k a_k g_k ||^2

    Solved exactly (active set; the authors use Frank-Wolfe). D decreases every loss at once where that is possible and
    is no longer than any of the gradients; where some point of the hull is 0 so is D. Shapes: g_k and D [p], the p
    elements of all A and B; their Gramian [K K], the weights a [K]. The scale is that of one gradient: the weights sum
    to 1, and equal domains give their gradient. OURS: this solver, and what becomes of the weights with ``normalize``.

    Attributes:
        normalize: "none", or "length" to give all gradients length 1 when the weights are sought (Desideri; the
            gradients that are then weighed are the given ones, at the weights' own scale: ``a_k / ||g_k||`` brought
            back to sum to 1). D then is the shortest of the unit gradients' hull up to a factor, and a gradient of 0
            takes all the weight. Default "none": the problem as Sener and Koltun's paper states it.

    Raises:
        UserError: ``normalize`` is neither.
    """

    search: ClassVar[Mapping[str, Distribution]] = {"normalize": Choice(("none", "length"))}

    normalize: Literal["none", "length"] = "none"

    def __post_init__(self) -> None:
        one_of("mgda", "normalize", self.normalize, ("none", "length"))

    def weights(self, gramian: Float[Tensor, "K K"], rng: random.Random) -> Float[Tensor, " K"]:
        del rng
        if self.normalize == "none":
            return minimize_on_simplex(gramian, torch.zeros(len(gramian), dtype=gramian.dtype))
        length = gramian.diagonal().sqrt().clamp(min=1e-150)  # the square of which is not yet 0
        unit = minimize_on_simplex(gramian / (length[:, None] * length), torch.zeros_like(length))
        return (unit / length) / (unit / length).sum()
