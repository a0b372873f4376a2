"""Empirical risk minimization: the baseline every other method is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from isograd.gradients._base import DomainLosses, LossMethod, State
from isograd.gradients._checks import one_of

__all__ = ["Erm"]


@dataclass(frozen=True)
class Erm(LossMethod):
    """Plain supervised fine-tuning on all domains: Vapnik, Principles of risk minimization, NeurIPS 1991.

    ::

        balance "domain":   (1/K) sum_k L_k
        balance "token":    sum_k t_k L_k / sum_k t_k              t_k supervised tokens in domain k

    The first gives each domain the same weight: the objective whose gradient the methods that compare domains start
    from. The second gives each token the same weight: what a trainer that knows no domains minimizes (pooled SFT). They
    agree where the domains have equal token counts. Shapes: losses L and counts t [K]; the result is a scalar, in nats
    per token. Its scale is that of one loss. Nothing in it is OURS.

    Attributes:
        balance: "domain" or "token". Default "domain": DomainBed's ERM (arXiv 2007.01434), whose minibatches hold as
            many examples of every domain.

    Raises:
        UserError: ``balance`` is neither of the two.
    """

    linear: ClassVar[bool] = True

    balance: Literal["domain", "token"] = "domain"

    def __post_init__(self) -> None:
        one_of("erm", "balance", self.balance, ("domain", "token"))

    def combine(self, domains: DomainLosses, state: State) -> Float[Tensor, ""]:
        del state
        if self.balance == "domain":
            return domains.losses.mean()
        return (domains.losses * (domains.tokens / domains.tokens.sum())).sum()
