"""Where the masked flow settles under noise: the zero of the expected masked gradient of one coordinate.

With equal curvature 1 the mini-batch gradients of a coordinate are ``w - c_k + noise_k``: the gradient of L is w, and a
method whose expected direction vanishes at ``w != 0`` never reaches the minimum, whatever its steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.gradients.conflict import conflict_mask, moments
from isograd.lab.records import Findings, Tick

__all__ = ["BATCHES", "CASES", "MAIN", "TAUS", "Case", "deviation", "settled", "settling"]

BATCHES: Final = (1, 4, 16, 64)
TAUS: Final = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Case:
    """K domains with their minima and their noise.

    Attributes:
        K: domains.
        spread: standard deviation of the minima c_k.
        noise: of one row's gradient, mean 0. "equal": normal, standard deviation 1. "unequal": normal, of standard
            deviation 2 in the first domain and 1/2 in the others. "skewed": exponential, standard deviation 1.
    """

    K: int
    spread: float = 1.0
    noise: Literal["equal", "unequal", "skewed"] = "equal"


MAIN: Final = "4 minima, unequal noise"

CASES: Final = {
    "2 minima, equal noise": Case(2),
    "one minimum, equal noise": Case(4, spread=0.0),
    "one minimum, unequal noise": Case(4, spread=0.0, noise="unequal"),
    "one minimum, skewed noise": Case(4, spread=0.0, noise="skewed"),
    "4 minima, equal noise": Case(4),
    "2 minima, unequal noise": Case(2, noise="unequal"),
    MAIN: Case(4, noise="unequal"),
    "8 minima, unequal noise": Case(8, noise="unequal"),
}


def _noise(case: Case, seed: int, draws: int, batch: int) -> Float[Tensor, "K draws"]:
    """Means of ``batch`` rows' noise, with the mirror images of every draw, so that symmetries are exact."""
    generator = np.random.default_rng(derive_seed("lab", "convergence", "bias", seed, case.K, batch))
    if case.noise == "skewed":
        found = torch.from_numpy(generator.gamma(batch, size=(case.K, draws)) / batch - 1)
        # What the draws leave of the mean is noise of the experiment, not of the method.
        return found - found.mean(-1, keepdim=True)
    found = torch.from_numpy(generator.normal(size=(case.K, draws // 4))) / batch**0.5
    if case.noise == "unequal":
        found = torch.cat([found, found.roll(1, -1)], 1)
        found = found * torch.tensor([2.0] + [0.5] * (case.K - 1), dtype=torch.float64)[:, None]
    else:
        found = torch.cat([found, found.flip(0)], 1)
    return torch.cat([found, -found], 1)


def settled(minima: Float[Tensor, "K S"], noise: Float[Tensor, "K S draws"], tau: float) -> Float[Tensor, " S"]:
    """A root w of ``E[M g]``, by bisection, with the expectation over the draws given.

    One lies within ``sinh(tau / 2)`` standard deviations of the mean noise (docs/theory/convergence.md).

    Args:
        minima: of each domain, mean 0 over domains.
        noise: of each domain's gradient, mean 0 over draws.
        tau: strength of the mask, normalization "mean_square".
    """
    reach = 1.01 * math.sinh(tau / 2) * deviation(noise)
    low, high = -reach, reach
    for _ in range(30):
        middle = (low + high) / 2
        grads = (middle[:, None] - minima[:, :, None]) + noise
        parts = moments(grads, dims=2)
        expected = (conflict_mask(parts, tau, "mean_square") * parts.mean).mean(-1)
        # Exactly 0 by symmetry: the middle is the root.
        low, high = torch.where(expected <= 0, middle, low), torch.where(expected >= 0, middle, high)
    return (low + high) / 2


def deviation(noise: Float[Tensor, "K S draws"]) -> Float[Tensor, " S"]:
    """The standard deviation of the mean gradient."""
    return noise.mean(0).square().mean(-1).sqrt()


def settling(seeds: list[int], draws: int, findings: Findings, tick: Tick) -> None:
    """Experiment ``bias``, ``at`` the batch size (rows of each domain).

    Measures: ``gradient``, |w| where the flow settles, which is the norm of L's gradient there; ``over bound``, that
    over sinh(tau/2) standard deviations of the mean gradient; ``order``, the slope of log |w| in log batch size over
    the last two sizes.
    """
    for name, case in CASES.items():
        starts = [np.random.default_rng(derive_seed("lab", "convergence", "minima", seed, case.K)) for seed in seeds]
        minima = case.spread * torch.from_numpy(np.stack([each.normal(size=case.K) for each in starts], 1))
        minima = minima - minima.mean(0)
        for tau in TAUS if name == MAIN else (1.0,):
            found = []
            for batch in BATCHES:
                noise = torch.stack([_noise(case, seed, draws, batch) for seed in seeds], 1)
                size = settled(minima, noise, tau).abs()
                bound = math.sinh(tau / 2) * deviation(noise)
                # No more than rounding and bisection leave of 0.
                size = size.masked_fill(size < 1e-8 * bound, 0.0)
                found.append(size)
                findings.add("bias", name, f"tau {tau:g}", "gradient", size.tolist(), at=batch)
                findings.add("bias", name, f"tau {tau:g}", "over bound", (size / bound).tolist(), at=batch)
                tick()
            order = (found[-1] / found[-2]).log() / math.log(BATCHES[-1] / BATCHES[-2])
            findings.add("bias", name, f"tau {tau:g}", "order", order.tolist())
