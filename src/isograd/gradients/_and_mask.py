"""AND-mask: coordinates on whose sign the domains agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import LayerContext, LocalMethod
from isograd.gradients._checks import boolean, fraction_or_one, one_of
from isograd.gradients.search import Distribution, Uniform

__all__ = ["AndMask", "rescaled"]


@dataclass(frozen=True)
class AndMask(LocalMethod):
    """AND-mask: Parascandolo et al., Learning explanations that are hard to vary, arXiv 2009.00329.

    With per-domain gradients g_1 .. g_K, element by element::

        m = 1 if |(1/K) sum_k sign(g_k)| >= tau else 0
        D = m * (1/K) sum_k g_k / mean(m)

    The mean gradient where the signs agree, 0 elsewhere, divided by the share of the layer's coordinates that are kept
    (as in DomainBed; ``rescale=False`` leaves that out). A coordinate where every g_k is 0 has no sign to agree on and
    counts as masked. Equal gradients without zeros give the mean gradient, whose scale D has. OURS: the gradients are
    those of the effective weight W unless ``space`` is "factor", where they are those of A and of B. Shapes: g_k, m and
    D [m n], of W; or [r n] and [m r].

    Attributes:
        tau: agreement threshold in [0, 1]; 1 asks for all signs, 0 keeps everything. Default 1.0: DomainBed's.
        space: "weight" or "factor". Default "weight": ours.
        rescale: whether to divide by the share kept. Default True: DomainBed's code does.

    Raises:
        UserError: a parameter is out of its range.
    """

    search: ClassVar[Mapping[str, Distribution]] = {"tau": Uniform(0.5, 1.0)}

    tau: float = 1.0
    space: Literal["weight", "factor"] = "weight"  # type: ignore[misc]
    rescale: bool = True

    def __post_init__(self) -> None:
        fraction_or_one("and_mask", "tau", self.tau)
        one_of("and_mask", "space", self.space, ("weight", "factor"))
        boolean("and_mask", "rescale", self.rescale)

    @property
    def whole_layer(self) -> bool:
        return self.rescale

    def merge(self, grads: Float[Tensor, "*sets K rows n"]) -> Float[Tensor, "rows n"]:
        mean, mask = self._mean_and_mask(grads)
        return mean.mul_(mask)

    def merge_layer(self, grads: Float[Tensor, "*sets K m n"], context: LayerContext) -> Float[Tensor, "m n"]:
        del context
        return rescaled(*self._mean_and_mask(grads)) if self.rescale else self.merge(grads)

    def entry_mask(self, grads: Float[Tensor, "K m n"], context: LayerContext) -> Float[Tensor, "m n"] | None:
        del context
        return self._mean_and_mask(grads)[1] if self.space == "weight" else None

    def _mean_and_mask(self, grads: Tensor) -> tuple[Tensor, Tensor]:
        # Sums of signs are whole numbers: compared as such, and a threshold of 2/3 counts 2 of 3.
        agreement = grads.sign().sum(0).abs_()
        needed = self.tau * grads.shape[0] - 1e-6
        return grads.mean(0), torch.logical_and(agreement >= needed, grads.abs().amax(0) > 0).to(grads.dtype)


def rescaled(mean: Float[Tensor, "m n"], mask: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """``mask * mean / mean(mask)``; 0 where the mask keeps nothing."""
    kept = mask.mean()
    return mean.mul_(mask).div_(torch.where(kept > 0, kept, torch.ones_like(kept)))
