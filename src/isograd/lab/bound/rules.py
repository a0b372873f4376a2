"""What each method makes of the domains' gradients. Mask and AND-mask are the library's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isograd.gradients import AndMask
from isograd.gradients.conflict import conflict_mask, moments

__all__ = ["ERM", "ORACLE", "RULES", "Rule", "direction"]


@dataclass(frozen=True)
class Rule:
    """A method.

    Attributes:
        label: its name in tables.
        kind: ``mean``; ``iga``; ``shuffled``, the same mask with its values in another order at every step; ``and``,
            AND-mask without rescaling, as rates are tuned; ``oracle``, the mean of gradients that hold no cue;
            ``constant``, the mean with the cues' part multiplied by ``exp(-tau)``.
        tau: of the mask.
    """

    label: str
    kind: Literal["mean", "iga", "shuffled", "and", "oracle", "constant"]
    tau: float = 0.0


ERM: Final = Rule("ERM", "mean")
ORACLE: Final = Rule("oracle", "oracle")
RULES: Final = (
    ERM,
    *(Rule(f"IGA, tau {tau:g}", "iga", tau) for tau in (1.0, 3.0, 10.0)),
    Rule("shuffled mask, tau 3", "shuffled", 3.0),
    Rule("AND-mask", "and"),
    ORACLE,
)
_AND: Final = AndMask(tau=1.0, rescale=False)


def direction(
    rule: Rule, grads: Float[Tensor, "K rows n"], cues: Float[Tensor, " n"], order: Int[Tensor, "rows n"] | None = None
) -> Float[Tensor, "rows n"]:
    """The direction to descend.

    Args:
        rule: the method. For ``oracle`` the gradients have to be without cues already.
        grads: of K domains, for any number of runs.
        cues: 1 at cues, else 0; for ``constant``.
        order: for ``shuffled``: which entry of the run's mask each coordinate gets.
    """
    if rule.kind == "and":
        return _AND.merge(grads)
    if rule.kind in ("iga", "shuffled"):
        parts = moments(grads)
        mask = conflict_mask(parts, rule.tau, "mean_square")
        if rule.kind == "shuffled":
            assert order is not None
            mask = mask.gather(-1, order)
        return mask.mul_(parts.mean)
    mean = grads.mean(0)
    return mean * torch.exp(-rule.tau * cues) if rule.kind == "constant" else mean
