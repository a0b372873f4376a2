"""Two cases that can be solved: the standstill of a mask relative to the mean, and a truncation that climbs.

With equal curvature the domains' gradients are ``w - c_k`` for each coordinate: their variance v does not change while
the mean gradient g falls. Under the mask ``exp(-tau v / g^2)`` ("mean_squared") the flow ``dg/dt = -g exp(-tau v/g^2)``
becomes, with ``s = tau v / g^2``, ``ds/dt = 2 s exp(-s)``, and so ``t = 1/2 * (Ei(s) - Ei(s_0))`` with the exponential
integral Ei: g^2 falls as ``tau v / log t``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.gradients import Iga, LayerContext
from isograd.gradients.lowrank import LowRank
from isograd.lab.convergence.descent import checkpoints, power_rate
from isograd.lab.convergence.problems import DOMAINS
from isograd.lab.convergence.rules import Arm, Rules
from isograd.lab.records import Findings, Tick

__all__ = ["STEP", "TAUS", "climbing", "standstill", "standstill_flow"]

STEP: Final = 0.1
TAUS: Final = (0.3, 1.0, 3.0)
_COORDINATES: Final = 8


def standstill_flow(
    squared: NDArray[np.float64], spread: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """g^2 of the flow ``dg/dt = -g exp(-spread / g^2)`` at the given times, for each coordinate.

    Args:
        squared: g^2 at time 0, positive, [C].
        spread: tau v, positive, [C].
        times: [P].

    Returns:
        [C P].
    """
    out = np.empty((len(squared), len(times)))
    for row, (start, scale) in enumerate(zip(squared, spread, strict=True)):
        first = scale / start
        # Time as a function of s by the trapezoid rule: from log s, in which early times are resolved, too.
        last = max(2 * first, 60.0)
        s = np.geomspace(first, last, 40_001)
        rise = np.exp(np.minimum(s, 700.0))  # e^s / s ds = e^s d(log s)
        t = np.concatenate([[0.0], np.cumsum(0.25 * (rise[1:] + rise[:-1]) * np.diff(np.log(s)))])
        out[row] = scale / np.interp(times, t, s)
    return out


def standstill(seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Gradient descent under three masks, and the solution of the flow: experiment ``standstill``.

    Measures: ``power``, see :func:`isograd.lab.convergence.descent.power_rate`; ``measured over predicted``, the
    squared gradient over that of the flow, at 100 steps, 1,000 and so on; lines ``gradient``, of arm ``NAME`` and
    ``NAME, predicted``.
    """
    draws = [np.random.default_rng(derive_seed("lab", "convergence", "standstill", seed)) for seed in seeds]
    minima = torch.from_numpy(np.stack([each.normal(size=(DOMAINS, _COORDINATES)) for each in draws], 1))
    # [K S A 1 n]; W starts two units away from the mean of the minima.
    minima = minima[:, :, None, None, :]
    center = minima.mean(0)
    arms = [Arm("SGD"), Arm("mean_square, tau 1", 1.0)]
    arms += [Arm(f"mean_squared, tau {tau:g}", tau, "mean_squared") for tau in TAUS]
    rules = Rules(arms)
    W = (center + 2.0).repeat(1, len(arms), 1, 1)
    measured = checkpoints(steps)
    found = []
    for step in range(steps + 1):
        direction, _ = rules(W - minima)
        if step in measured:
            found.append((W - center).square().sum((-1, -2)))
        W = W - STEP * direction
        tick()
    curves = torch.stack(found, -1)
    variance = (minima - center).square().mean(0)[:, 0, 0].numpy()
    times = STEP * np.asarray(measured, dtype=np.float64)
    for place, arm in enumerate(arms):
        values = [curves[seed, place].tolist() for seed in range(len(seeds))]
        logs = curves[:, place].clamp(min=1e-30).log10().tolist()
        findings.line("standstill", "equal curvature", arm.label, "gradient", measured, logs)
        findings.add("standstill", "equal curvature", arm.label, "power", [power_rate(measured, v) for v in values])
        if arm.normalization != "mean_squared":
            continue
        start = np.full(_COORDINATES, 4.0)
        predicted = [standstill_flow(start, arm.tau * v, times).sum(0) for v in variance]
        label = f"{arm.label}, predicted"
        logs = [np.log10(p).tolist() for p in predicted]
        findings.line("standstill", "equal curvature", label, "gradient", measured, logs)
        for at in (10**power for power in range(2, 7)):
            if at <= steps:
                here = int(np.searchsorted(measured, at))
                ratios = [v[here] / p[here] for v, p in zip(values, predicted, strict=True)]
                findings.add(
                    "standstill", "equal curvature", arm.label, "measured over predicted", ratios, at=measured[here]
                )


def climbing(findings: Findings) -> None:
    """A mask and then a truncation, by hand, with the library's own method: experiment ``by hand``.

    All domains agree on three entries of a 2 x 2 gradient, ``(1, 1, 1)``, and disagree about the fourth, -10 +- 50.
    The mask all but removes the fourth; the leading singular pair of what is left has all signs equal, and so moves the
    fourth entry, too, the wrong way.
    """
    g = torch.tensor([[1.0, 1.0], [1.0, -10.0]], dtype=torch.float64)
    spread = torch.zeros_like(g)
    spread[1, 1] = 50.0
    grads = torch.stack([g + spread, g - spread])
    for tau in (0.0, 1.0, 3.0, 5.0, 10.0):
        iga = Iga(tau=tau, svd="exact", rank=1)
        masked = iga.merge(grads)
        kept = iga.project(masked, LayerContext(rank=1))
        cut = kept.dense() if isinstance(kept, LowRank) else kept
        for label, direction in (("mask", masked), ("mask, then rank 1", cut)):
            findings.add("by hand", "2 x 2", label, "cosine", [_cosine(g, direction)], at=tau)


def _cosine(g: Float[Tensor, "m n"], direction: Float[Tensor, "m n"]) -> float:
    """``<g, D> / (|g| |D|)``, the cosine; positive where a small step lowers the loss."""
    return float((g * direction).sum() / (g.norm() * direction.norm()))
