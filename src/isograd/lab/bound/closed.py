"""What can be computed without training, for the additive linear model; derivations in docs/theory/bound.md."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isograd.lab.bound.problems import INVARIANT, Problem

__all__ = ["decayed_share", "erm_limit", "erm_mean_risk", "learned_share", "redundant_limit"]


def erm_limit(problem: Problem) -> Float[Tensor, "S d"]:
    """The minimum of the mean loss (additive): the mean of the targets, weighted by the sizes of the losses."""
    size = problem.size[..., None]
    return (size * problem.targets).sum(0) / size.sum(0)


def erm_mean_risk(problem: Problem) -> float:
    """The expected risk of ERM at its minimum over all draws of K domains of equal size: ``sum lambda / (2 K)``."""
    return problem.curvature[INVARIANT:].sum().item() / (2 * len(problem.targets))


def learned_share(
    ratio: Float[Tensor, "*shape"], speed: Float[Tensor, "*shape"], time: float, tau: float
) -> Float[Tensor, "*shape"]:
    """How much of ERM's final cue weight the masked gradient flow has learned after ``time``, from zero.

    With ``x = (w - mean)^2 / variance`` the flow obeys ``dx/dt = -2 lambda x exp(-tau / (1 + x))``, so that x falls
    from x_0 to x in ``lambda t = 1/2 int_x^x0 exp(tau / (1 + s)) ds / s``; inverted here on a grid of log s.

    Args:
        ratio: x_0, the squared mean of the domains' cues over their population variance, > 0.
        speed: lambda.
        time: learning rate times steps.
        tau: of the mask; 0 is ERM.

    Returns:
        ``w / mean``: 0 at the start, 1 at the minimum.
    """
    shares = []
    for x0, rate in zip(ratio.flatten().tolist(), speed.flatten().tolist(), strict=True):
        # Further than time can go even without a mask.
        depth = np.linspace(0, 2 * rate * time + 1e-12, 4001)
        pace = np.exp(tau / (1 + x0 * np.exp(-depth)))
        needed = np.concatenate([[0], np.cumsum((pace[1:] + pace[:-1]) / 4 * np.diff(depth))])
        shares.append(1 - np.exp(-np.interp(rate * time, needed, depth) / 2))
    return torch.tensor(shares, dtype=torch.float64).view(ratio.shape)


def decayed_share(
    ratio: Float[Tensor, "*shape"], speed: Float[Tensor, "*shape"], decay: float, tau: float
) -> Float[Tensor, "*shape"]:
    """``w / mean`` where mask and decoupled weight decay balance: the smallest root of ``M lambda (1 - w) = decay w``.

    The smallest, as it is the first that the flow meets on its way from zero.

    Args:
        ratio, speed, tau: as for :func:`learned_share`.
        decay: of the weights, per unit of time.
    """
    share = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    found = []
    for x0, rate in zip(ratio.flatten().tolist(), speed.flatten().tolist(), strict=True):
        force = rate * (1 - share) * torch.exp(-tau / (1 + x0 * (1 - share) ** 2)) - decay * share
        found.append(share[int((force <= 0).to(torch.int8).argmax())].item())
    return torch.tensor(found, dtype=torch.float64).view(ratio.shape)


def redundant_limit(problem: Problem, mask: float = 1.0) -> Float[Tensor, "S d"]:
    """Where gradient flow from zero ends (redundant): of all exact solutions the one that is shortest.

    Args:
        problem: redundant, equal sizes, not rotated.
        mask: a constant factor on the gradient of cues; solutions are then shortest in the metric ``w_cue^2 / mask``.
    """
    scale = torch.ones(problem.targets.shape[-1], dtype=torch.float64)
    scale[INVARIANT:] = mask**0.5
    features = (problem.targets * scale).transpose(0, 1)
    ones = torch.ones(*features.shape[:2], 1, dtype=torch.float64)
    shortest: Tensor = (torch.linalg.pinv(features) @ ones).squeeze(-1)
    return shortest * scale
