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
    """Plain supervised fine-tuning on the rows of all domains.

    ``balance="domain"`` gives each domain the same weight, ``mean_k L_k``: the objective whose gradient the methods
    that compare domains start from. ``balance="token"`` gives each supervised token the same weight,
    ``sum_k t_k L_k / sum_k t_k``: what a trainer that knows no domains minimizes (pooled SFT). They agree where the
    domains have equal token counts t_k.

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
