"""SAND-mask: a smooth AND-mask that also asks for agreement in size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients._and_mask import rescaled
from isograd.gradients._base import LayerContext, LocalMethod
from isograd.gradients._checks import boolean, fraction, one_of, positive
from isograd.gradients.conflict import moments, variance_of
from isograd.gradients.search import Distribution, LogUniform, Uniform

__all__ = ["SandMask"]


@dataclass(frozen=True)
class SandMask(LocalMethod):
    """SAND-mask: Shahtalebi et al., arXiv 2106.02266.

    With per-domain gradients g_1 .. g_K, element by element::

        a = |(1/K) sum_k sign(g_k)|                  agreement of signs
        v = (1/(K-1)) sum_k (g_k - g)^2              sample variance over domains
        m = max(0, tanh((k / v) * (a - tau)))
        D = m * g / mean(m)                          over the layer's coordinates (as in DomainBed)

    OURS: v is measured against the mean square of the gradient over the layer (``v / mean(g_k^2)``), so that k does not
    have to follow the scale of the loss, which falls by orders of magnitude during training; ``relative=False`` is
    the published v. And the gradients are those of W unless ``space`` is "factor". Where v = 0 the tanh is at its
    limit, 1 where signs agree beyond tau. Equal gradients without zeros give the mean gradient, whose scale D has.
    Shapes: g_k, a, v, m and D [m n], of W; or [r n] and [m r].

    Attributes:
        tau: agreement threshold in [0, 1). Default 0.5: ours. DomainBed's is 1, which its tuning replaces: no agreement
            is beyond it, so nothing would pass.
        k: steepness, > 0. Default 10.0: DomainBed's.
        relative: whether v is relative. Default True: ours.
        space: "weight" or "factor". Default "weight": ours.

    Raises:
        UserError: a parameter is out of its range.
    """

    search: ClassVar[Mapping[str, Distribution]] = {"tau": Uniform(0.0, 0.95), "k": LogUniform(0.1, 1000.0)}

    tau: float = 0.5
    k: float = 10.0
    relative: bool = True
    space: Literal["weight", "factor"] = "weight"  # type: ignore[misc]

    def __post_init__(self) -> None:
        fraction("sand_mask", "tau", self.tau)
        positive("sand_mask", "k", self.k)
        boolean("sand_mask", "relative", self.relative)
        one_of("sand_mask", "space", self.space, ("weight", "factor"))

    @property
    def whole_layer(self) -> bool:
        return True

    def merge(self, grads: Float[Tensor, "*sets K rows n"]) -> Float[Tensor, "rows n"]:
        return rescaled(*self._mean_and_mask(grads))

    def entry_mask(self, grads: Float[Tensor, "K m n"], context: LayerContext) -> Float[Tensor, "m n"] | None:
        del context
        return self._mean_and_mask(grads)[1] if self.space == "weight" else None

    def _mean_and_mask(self, grads: Tensor) -> tuple[Tensor, Tensor]:
        K = grads.shape[0]
        parts = moments(grads)
        variance = variance_of(parts).mul_(K / max(1, K - 1))
        if self.relative:
            variance /= parts.mean_square.mean().clamp(min=torch.finfo(grads.dtype).tiny)
        margin = grads.sign().mean(0).abs_().sub_(self.tau)
        # 0 / 0, for a margin of 0 without variance, is 0: nothing beyond the threshold.
        steep = torch.where(margin == 0, margin, self.k * margin / variance)
        return parts.mean, steep.tanh_().clamp_(min=0)
