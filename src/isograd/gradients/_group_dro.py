"""GroupDRO: the worst domain first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import DomainLosses, LossMethod, State
from isograd.gradients._checks import non_negative
from isograd.gradients.search import Distribution, LogUniform

__all__ = ["GroupDro"]


@dataclass(frozen=True)
class GroupDro(LossMethod):
    """Distributionally robust optimization over groups: Sagawa et al., ICLR 2020 (arXiv 1911.08731), algorithm 1.

    Weights q on the simplex, uniform at first, follow the losses by exponentiated gradient ascent, once an optimizer
    step, and weigh the same step's losses::

        q_k <- q_k exp(eta L_k) / sum_j q_j exp(eta L_j)
        sum_k q_k L_k

    Shapes: losses L, weights q [K]; the result is a scalar, in nats per token. Equal domains give the gradient of ERM,
    whatever q. The scale is that of one loss. Every step moves the weights of all domains, as in
    DomainBed (the paper's algorithm draws one domain a step). Nothing in it is OURS.

    Attributes:
        eta: step size of the weights, >= 0. Default 0.01: DomainBed's, and the authors' code's.

    Raises:
        UserError: ``eta`` is out of its range.
    """

    search: ClassVar[Mapping[str, Distribution]] = {"eta": LogUniform(1e-3, 1e-1)}

    eta: float = 0.01

    def __post_init__(self) -> None:
        non_negative("group_dro", "eta", self.eta)

    def combine(self, domains: DomainLosses, state: State) -> Float[Tensor, ""]:
        losses = domains.losses.detach()
        log_q = state.get("log_q", torch.zeros_like(losses)).to(losses)
        state["log_q"] = (log_q + self.eta * losses).log_softmax(0)
        return (state["log_q"].exp() * domains.losses).sum()
