"""Invariant risk minimization, in its practical form IRMv1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import DomainLosses, State
from isograd.gradients._penalty import PenaltyMethod
from isograd.gradients.search import Choice, Distribution, LogUniform

__all__ = ["Irm"]


@dataclass(frozen=True)
class Irm(PenaltyMethod):
    """IRMv1: Arjovsky et al., arXiv 1907.02893.

    ::

        mean_k L_k + weight * mean_k (dL_k / dw at w = 1)^2        logits of every token multiplied by w

    The derivative is the mean over the domain's tokens of ``-log p(y) - H(p)`` (in nats), so that neither logits nor a
    second backward pass is needed: the two are equal, and their gradients too. Shapes: losses L, derivatives [K]; the
    result is a scalar, in nats per token. OURS: this form; that the square is of the mean over the whole batch, where
    DomainBed and the paper's appendix multiply the means of two halves to be free of bias; and the weight of 0 before
    ``start`` (DomainBed's is 1). Equal domains give the gradient of IRMv1 on one of them, which is that of ERM only
    where the penalty's gradient vanishes (weight 0). The scale is that of one loss, as both have the mean over
    domains, as in DomainBed (the paper has the sum).

    Attributes:
        weight: of the penalty, >= 0. Default 100.0: DomainBed's.
        start: optimizer steps before the penalty begins to act. Default 0: ours (DomainBed's is 500).

    Raises:
        UserError: a parameter is out of its range.
    """

    needs_scale_gradients: ClassVar[bool] = True
    name: ClassVar[str] = "irm"
    search: ClassVar[Mapping[str, Distribution]] = {"weight": LogUniform(0.1, 1e5), "start": Choice((0, 20, 50, 100))}

    weight: float = 100.0

    def combine(self, domains: DomainLosses, state: State) -> Float[Tensor, ""]:
        del state
        assert domains.scale_gradients is not None
        return domains.losses.mean() + self.weight * domains.scale_gradients.square().mean()
