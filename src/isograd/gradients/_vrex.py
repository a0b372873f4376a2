"""V-REx: equal risks, by their variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import DomainLosses, State
from isograd.gradients._penalty import PenaltyMethod
from isograd.gradients.search import Choice, Distribution, LogUniform

__all__ = ["VRex"]


@dataclass(frozen=True)
class VRex(PenaltyMethod):
    """Risk extrapolation by variance: Krueger et al., arXiv 2003.00688.

    ::

        mean_k L_k + weight * (1/K) sum_k (L_k - mean_k L_k)^2     population variance

    Shapes: losses L [K]; the result is a scalar, in nats per token. Equal domains give the gradient of ERM. The scale
    is that of one loss, as the losses have their mean, as in DomainBed (the paper has their sum). OURS: the weight is 0
    before ``start`` (DomainBed's is 1).

    Attributes:
        weight: beta, of the variance, >= 0. Default 10.0: DomainBed's.
        start: optimizer steps before the penalty begins to act. Default 0: ours (DomainBed's is 500).

    Raises:
        UserError: a parameter is out of its range.
    """

    name: ClassVar[str] = "vrex"
    search: ClassVar[Mapping[str, Distribution]] = {"weight": LogUniform(0.1, 1e5), "start": Choice((0, 20, 50, 100))}

    weight: float = 10.0

    def combine(self, domains: DomainLosses, state: State) -> Float[Tensor, ""]:
        del state
        mean = domains.losses.mean()
        return mean + self.weight * (domains.losses - mean).square().mean()
