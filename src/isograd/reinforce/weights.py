"""Effective token weights: what a group policy-gradient method multiplies each token's score by.

Every method compared here has, for a prompt with G completions and advantages A_i that sum to zero, the gradient

    g = sum over i, t of A_i * w_it * grad log pi(y_it | y_i<t),

and differs from the others only in the *effective weight* w_it: an importance ratio, what clipping leaves of it, and a
normalizer (arXiv 2604.13088; that the normalizer counts is isograd's reading). Where several completions pass through
the same token in the same context, their terms cancel if sum_i A_i w_it = 0. :func:`min_replace` and
:func:`advantage_orthogonal` restore that; :class:`TokenWeights` composes the rest, and :data:`METHODS` names what the
literature uses. All weights are constants: no gradient flows through them.

Shapes: N groups (prompts) of G completions of at most T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = [
    "METHODS",
    "Clip",
    "GroupRule",
    "Level",
    "Normalization",
    "TokenWeights",
    "advantage_orthogonal",
    "dynamic_bounds",
    "importance_ratio",
    "kept",
    "min_replace",
]

Level = Literal["token", "sequence", "segment"]
Clip = Literal["asymmetric", "symmetric", "saturate", "dynamic", "none"]
Normalization = Literal["completion", "batch", "constant"]
GroupRule = Literal["none", "min_replace", "orthogonal"]


def importance_ratio(
    log_ratio: Float[Tensor, "N G T"],
    mask: Bool[Tensor, "N G T"],
    level: Level,
    segments: Int[Tensor, "N G T"] | None = None,
) -> Float[Tensor, "N G T"]:
    """How much likelier the present policy makes a token than the one that sampled it.

    - ``token``: r_it = pi(y_it) / pi_old(y_it), as in PPO and GRPO.
    - ``sequence``: s_i = exp(mean_t log r_it), the same for all tokens of a completion; GSPO, arXiv 2507.18071, eq. 7.
    - ``segment``: the same mean within each segment (SSPO's sub-sentences, arXiv 2511.04256).

    Args:
        log_ratio: log pi - log pi_old of the sampled tokens; whatever stands where the mask is false is not read.
        mask: true where a completion has a token.
        level: over what the logarithms are averaged.
        segments: for ``segment``: the number of the segment that each token belongs to, from 0.

    Raises:
        ValueError: ``segment`` without segments.
    """
    known = torch.where(mask, log_ratio.detach(), 0)
    if level == "token":
        mean = known
    elif level == "sequence":
        mean = (known.sum(-1) / mask.sum(-1).clamp(min=1))[..., None].expand_as(known)
    else:
        if segments is None:
            raise ValueError("ratios by segment need the segments")
        inside = torch.where(mask, segments, 0)
        shape = (*known.shape[:-1], int(inside.max()) + 1 if inside.numel() else 1)
        total = known.new_zeros(shape).scatter_add(-1, inside, known)
        count = known.new_zeros(shape).scatter_add(-1, inside, mask.to(known))
        mean = (total / count.clamp(min=1)).gather(-1, inside)
    return torch.where(mask, mean.exp(), 0)


def dynamic_bounds(
    old_probability: Float[Tensor, "N G T"], low: float, high: float
) -> tuple[Float[Tensor, "N G T"], Float[Tensor, "N G T"]]:
    """DCPO's clipping range (arXiv 2509.02333), from |(r - 1) r q| <= epsilon with the token's old probability q.

    ::

        1/2 + 1/2 sqrt(max(1 - 4 low / q, 0))  <=  r  <=  1/2 + 1/2 sqrt(1 + 4 high / q)

    Returns:
        The least and the largest ratio.
    """
    least = 0.5 + 0.5 * (1 - 4 * low / old_probability).clamp(min=0).sqrt()
    largest = 0.5 + 0.5 * (1 + 4 * high / old_probability).sqrt()
    return least, largest


def kept(
    ratio: Float[Tensor, "N G T"],
    advantages: Float[Tensor, "N G"],
    least: float | Float[Tensor, "N G T"],
    largest: float | Float[Tensor, "N G T"],
    *,
    symmetric: bool = False,
) -> Bool[Tensor, "N G T"]:
    """Which tokens clipping lets through.

    PPO's min(r A, clip(r) A) has no gradient where r > largest and A > 0, nor where r < least and A < 0: which tokens
    survive depends on the completion's reward. The symmetric rule (GRPO-fix, arXiv 2604.13088) drops a token whenever
    its ratio leaves the range, whatever the sign of A.
    """
    above, below = ratio > largest, ratio < least
    if symmetric:
        return ~(above | below)
    sign = advantages[..., None]
    return ~((above & (sign > 0)) | (below & (sign < 0)))


def min_replace(
    weights: Float[Tensor, "N G *T"], mask: Bool[Tensor, "N G *T"] | None = None
) -> Float[Tensor, "N G *T"]:
    """DFPO's Min-Replace (arXiv 2604.13088, eq. 17): each weight becomes the smallest of its group.

    With weights by token, the smallest at the same position. Then sum_i A_i w_i = w * sum_i A_i, which is zero for
    advantages that sum to zero over the completions that count.

    Args:
        weights: by completion, or by token.
        mask: false where a completion has no such token; those count for nothing and get zero.
    """
    weights = weights.detach()
    if mask is None:
        return weights.amin(1, keepdim=True).expand_as(weights).clone()
    least = weights.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
    return torch.where(mask, least, 0)


def advantage_orthogonal(
    weights: Float[Tensor, "N G *T"], advantages: Float[Tensor, "N G"], mask: Bool[Tensor, "N G *T"] | None = None
) -> Float[Tensor, "N G *T"]:
    """DFPO's orthogonal weights (arXiv 2604.13088, eq. 18): w - (A.w / |A|^2) A.

    The nearest weights (in the Euclidean norm) with sum_i A_i w_i = 0; some may be negative. With weights by token, at
    each position over the completions that have a token there, so that the sum is zero also where some have ended. A
    group without any advantage is left as it is.

    Args:
        weights: by completion, or by token.
        advantages: of the completions.
        mask: false where a completion has no such token; those count for nothing and get zero.
    """
    weights = weights.detach()
    aligned = advantages.detach().reshape(*advantages.shape, *[1] * (weights.dim() - 2)).expand_as(weights)
    if mask is not None:
        weights, aligned = weights * mask, aligned * mask
    square = aligned.square().sum(1, keepdim=True)
    share = (aligned * weights).sum(1, keepdim=True) / torch.where(square > 0, square, 1)
    return weights - share * aligned


@dataclass(frozen=True)
class TokenWeights:
    """One rule for effective token weights, from four choices that can be taken one by one.

    Attributes:
        level: of the importance ratio, see :func:`importance_ratio`.
        clip: ``asymmetric`` and ``symmetric`` drop tokens, see :func:`kept`; ``dynamic`` drops asymmetrically outside
            :func:`dynamic_bounds`; ``saturate`` drops none and caps the ratio at 1 + high, as CISPO does; ``none``.
        low, high: how far the ratio may leave 1 downwards and upwards.
        normalization: ``completion`` divides by the completion's own length and the number of completions N G (GRPO);
            ``batch`` by the number of tokens in the batch (DAPO, BNPO, CISPO); ``constant`` by N G times a fixed length
            (Dr. GRPO).
        group: ``min_replace`` or ``orthogonal`` after all of that; with ratios by sequence over completions as a
            whole, else position by position.

    Raises:
        ValueError: an unknown choice, or a negative bound.
    """

    level: Level = "token"
    clip: Clip = "asymmetric"
    low: float = 0.2
    high: float = 0.2
    normalization: Normalization = "completion"
    group: GroupRule = "none"

    def __post_init__(self) -> None:
        known = {"level": Level, "clip": Clip, "normalization": Normalization, "group": GroupRule}
        for name, choices in known.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} is {getattr(self, name)!r}; use one of {', '.join(get_args(choices))}")
        if self.low < 0 or self.high < 0:
            raise ValueError(
                f"the clipping range is [1 - {self.low}, 1 + {self.high}]; low and high must be at least 0"
            )

    def __call__(
        self,
        log_ratio: Float[Tensor, "N G T"],
        advantages: Float[Tensor, "N G"],
        mask: Bool[Tensor, "N G T"],
        *,
        old_logps: Float[Tensor, "N G T"] | None = None,
        segments: Int[Tensor, "N G T"] | None = None,
        tokens: float | Tensor | None = None,
        longest: int | None = None,
    ) -> Float[Tensor, "N G T"]:
        """The weights of one batch, zero where the mask is false. ``(advantages[..., None] * weights * logps).sum()``
        has the method's policy gradient (to be ascended).

        Args:
            log_ratio: log pi - log pi_old of the sampled tokens.
            advantages: of the completions.
            mask: true where a completion has a token.
            old_logps: log pi_old of the sampled tokens; for ``dynamic`` clipping.
            segments: of the tokens; for ratios by ``segment``.
            tokens: for ``batch``: the number of tokens to divide by; by default those of this batch.
            longest: for ``constant``: the length to divide by; by default T.

        Raises:
            ValueError: what the rule needs was not given.
        """
        ratio = importance_ratio(log_ratio, mask, self.level, segments)
        if self.clip == "saturate":
            weights = ratio.clamp(max=1 + self.high)
        else:
            weights = ratio * self.keeps(ratio, advantages, old_logps)
        weights = weights / self._divisor(mask, tokens, longest)
        if self.group == "none":
            return torch.where(mask, weights, 0)
        by_sequence = self.level == "sequence"
        if by_sequence:
            # One weight a completion. Completions without tokens have none and must not be the smallest.
            some = mask.any(-1)
            whole = torch.where(mask, weights, -torch.inf).amax(-1)
            weights, over = torch.where(some, whole, 0), some
        else:
            over = mask
        if self.group == "min_replace":
            weights = min_replace(weights, over)
        else:
            weights = advantage_orthogonal(weights, advantages, over)
        return torch.where(mask, weights[..., None], 0) if by_sequence else weights

    def keeps(
        self,
        ratio: Float[Tensor, "N G T"],
        advantages: Float[Tensor, "N G"],
        old_logps: Float[Tensor, "N G T"] | None = None,
    ) -> Bool[Tensor, "N G T"]:
        """Which tokens clipping lets through; all where it drops none."""
        if self.clip in ("none", "saturate"):
            return torch.ones_like(ratio, dtype=torch.bool)
        least: float | Tensor = 1 - self.low
        largest: float | Tensor = 1 + self.high
        if self.clip == "dynamic":
            if old_logps is None:
                raise ValueError("dynamic clipping needs the old log-probabilities")
            least, largest = dynamic_bounds(old_logps.detach().exp(), self.low, self.high)
        return kept(ratio, advantages, least, largest, symmetric=self.clip == "symmetric")

    def _divisor(self, mask: Tensor, tokens: float | Tensor | None, longest: int | None) -> Tensor | float:
        completions = mask.shape[0] * mask.shape[1]
        if self.normalization == "completion":
            return mask.sum(-1, keepdim=True).clamp(min=1) * completions
        if self.normalization == "constant":
            return completions * (mask.shape[-1] if longest is None else longest)
        return mask.sum().clamp(min=1) if tokens is None else tokens


METHODS: Final[Mapping[str, TokenWeights]] = MappingProxyType(
    {
        "grpo": TokenWeights(),
        "dr_grpo": TokenWeights(normalization="constant"),
        "dapo": TokenWeights(high=0.28, normalization="batch"),
        "bnpo": TokenWeights(normalization="batch"),
        "gspo": TokenWeights(level="sequence", low=3e-4, high=4e-4),
        "gspo_token": TokenWeights(level="sequence", low=3e-4, high=4e-4),
        # The bound of arXiv 2510.13786.
        "cispo": TokenWeights(clip="saturate", high=4.0, normalization="batch"),
        "dcpo": TokenWeights(clip="dynamic", low=0.16, high=0.2),
        "sspo": TokenWeights(level="segment"),
        "grpo_fix": TokenWeights(clip="symmetric"),
        "dfpo_min": TokenWeights(level="sequence", clip="none", group="min_replace"),
        "dfpo_orthogonal": TokenWeights(level="sequence", clip="none", group="orthogonal"),
    }
)
"""Published methods by name.

With the ratios r_it by token and s_i by sequence, c = 1 where clipping keeps a token and 0 where it drops it
(:func:`kept`), |y_i| the length of a completion, B the tokens of the batch and L a fixed length, w_it is::

    grpo             c r_it / (N G |y_i|)            arXiv 2402.03300, eq. 3, without the KL term
    dr_grpo          c r_it / (N G L)                arXiv 2503.20783; its advantages are not divided by a deviation
    dapo             c r_it / B                      arXiv 2503.14476, eq. 8: more room above
    bnpo             c r_it / B                      as DAPO with equal bounds; TRL's name
    gspo             c s_i / (N G |y_i|)             arXiv 2507.18071, eq. 5, with its bounds
    gspo_token       c s_i / (N G |y_i|)             its eq. 13: the same for advantages by completion, by another road
    cispo            min(r_it, 1 + high) / B         arXiv 2506.13585, eq. 4: no token is dropped
    dcpo             c r_it / (N G |y_i|)            arXiv 2509.02333: bounds by token (:func:`dynamic_bounds`)
    sspo             c r_segment / (N G |y_i|)       arXiv 2511.04256, with fixed bounds; the paper's depend on entropy
    grpo_fix         c r_it / (N G |y_i|)            arXiv 2604.13088: c does not ask for the sign of A
    dfpo_min         min_j of s_j / (N G |y_j|)      arXiv 2604.13088, eq. 17
    dfpo_orthogonal  w - (A.w / A.A) A, the same w   arXiv 2604.13088, eq. 18

DCPO sums the completions of a group where this averages them, which is a factor; its smoothed advantages are the
business of whoever computes advantages.
"""
