"""Quadratic domain losses with invariant and domain-specific coordinates, and their exact risk on unseen domains.

There are p invariant coordinates and q cues; domain k has its own cue vector c_k, drawn from N(0, I). Two problems:

- ``additive``: the label holds the cues, ``L_k = a_k / 2 sum_j lambda_j (w_j - t_kj)^2`` with ``t_k = (beta, c_k)``.
  One minimum for each number of domains.
- ``redundant``: the cues repeat what the invariant features say, ``L_k = a_k / 2 ((1, c_k) w - 1)^2``. Many minima
  while there are no more domains than cues.

The gradients are those of the whole population: nothing is sampled but the domains, and noise where a case asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.seeding import derive_seed

__all__ = ["CASES", "INVARIANT", "Case", "Kind", "Problem", "draw_problem"]

Kind = Literal["additive", "redundant"]

INVARIANT: Final = 8
"""p, the number of invariant coordinates."""

_LARGEST: Final = 64
_SLOWEST: Final = 0.03


@dataclass(frozen=True)
class Case:
    """Which assumption is broken.

    Attributes:
        about: in words.
        cues: q.
        rotated: the parameters are seen in a basis of their own, the same for all domains, that mixes invariant
            coordinates and cues.
        noise: the standard deviation of normal noise on each coordinate of each domain's gradient, new at every step.
        unequal: losses are multiplied by a_k, log-normal (1), of mean 1 over the domains.
        shared: every other cue is 1 in all training domains; unseen domains do not share it.
    """

    about: str
    cues: int = 8
    rotated: bool = False
    noise: float = 0.0
    unequal: bool = False
    shared: bool = False


CASES: Final[dict[str, Case]] = {
    "exact": Case("as assumed: 8 invariant coordinates, 8 cues, exact gradients"),
    "rotated": Case("a random rotation mixes invariant coordinates and cues", rotated=True),
    "noisy": Case("noise of standard deviation 0.3 on every domain's gradient", noise=0.3),
    "unequal": Case("losses of unequal size: log-normal weights", unequal=True),
    "shared": Case("half of the cues are the same in all training domains", shared=True),
    "few": Case("32 cues: fewer domains than cues up to K = 16", cues=32),
}


@dataclass(frozen=True)
class Problem:
    """S problems of K domains and d = p + q coordinates, one a seed.

    Attributes:
        kind: ``additive`` or ``redundant``.
        noise: see :class:`Case`.
        curvature: lambda; all 1 if redundant.
        targets: t_k if additive, the features (1, c_k) if redundant.
        size: a_k.
        rotation: from true to seen coordinates, or None.
        held_out: targets or features of further domains that are drawn as the training domains are.
    """

    kind: Kind
    noise: float
    curvature: Float[Tensor, " d"]
    targets: Float[Tensor, "K S d"]
    size: Float[Tensor, "K S"]
    rotation: Float[Tensor, "S d d"] | None
    held_out: Float[Tensor, "V S d"]

    def true(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S d"]:
        """Weights in the coordinates in which cues and invariant features are apart."""
        return weights if self.rotation is None else torch.einsum("...sd,sde->...se", weights, self.rotation)

    def seen(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S d"]:
        """The inverse of :meth:`true`."""
        return weights if self.rotation is None else torch.einsum("...se,sde->...sd", weights, self.rotation)

    def gradients(self, weights: Float[Tensor, "R S d"]) -> Float[Tensor, "K R S d"]:
        """Exact dL_k / dw, in true coordinates."""
        targets, size = self.targets[:, None], self.size[:, None, :, None]
        if self.kind == "additive":
            return size * self.curvature * (weights - targets)
        return size * targets * ((targets * weights).sum(-1, keepdim=True) - 1)

    def largest_curvature(self) -> Float[Tensor, " S"]:
        """The largest eigenvalue of the mean loss's Hessian."""
        if self.kind == "additive":
            return self.size.mean(0) * self.curvature.max()
        hessian = torch.einsum("ks,ksd,kse->sde", self.size, self.targets, self.targets) / len(self.size)
        eigenvalues: Tensor = torch.linalg.eigvalsh(hessian)
        return eigenvalues[:, -1]

    def risk(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S"]:
        """Expected squared loss on a new domain, c ~ N(0, I), less that of the best invariant weights."""
        if self.kind == "additive":
            return self.invariant_risk(weights) + self.cue_norm(weights).square() / 2
        reach = weights[..., :INVARIANT].sum(-1) - 1
        return (reach.square() + weights[..., INVARIANT:].square().sum(-1)) / 2

    def invariant_risk(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S"]:
        """The part of :meth:`risk` that is due to the invariant coordinates (additive)."""
        error = weights[..., :INVARIANT] - self.targets[0, :, :INVARIANT]
        return (self.curvature[:INVARIANT] * error.square()).sum(-1) / 2

    def cue_norm(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S"]:
        """The length of the cue weights in the metric of the loss (additive)."""
        return (self.curvature[INVARIANT:] * weights[..., INVARIANT:].square()).sum(-1).sqrt()

    def worst_risk(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S"]:
        """As :meth:`risk`, on the worst new domain whose cue vector has length 1 in that metric (additive)."""
        norm = self.cue_norm(weights)
        return self.invariant_risk(weights) + norm + norm.square() / 2

    def absolute_risk(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S"]:
        """Expected absolute error, x ~ N(0, diag(lambda)), where the label holds no cue and no noise (additive)."""
        return (2 * self.risk(weights)).sqrt() * math.sqrt(2 / math.pi)

    def validation(self, weights: Float[Tensor, "*R S d"]) -> Float[Tensor, "*R S"]:
        """The mean loss on the held-out domains."""
        total = torch.zeros(weights.shape[:-1], dtype=weights.dtype)
        for domain in self.held_out:
            if self.kind == "additive":
                total += (self.curvature * (weights - domain).square()).sum(-1) / 2
            else:
                total += ((weights * domain).sum(-1) - 1).square() / 2
        return total / len(self.held_out)


def draw_problem(kind: Kind, name: str, domains: int, seeds: Sequence[int], held_out: int = 16) -> Problem:
    """Problems of case ``name``: domain k of a seed is the same whatever the number of domains.

    Args:
        kind: ``additive`` or ``redundant``.
        name: in ``CASES``.
        domains: K, at most 64.
        seeds: S seeds.
        held_out: validation domains.
    """
    case = CASES[name]
    d = INVARIANT + case.cues
    targets, sizes, rotations = [], [], []
    for seed in seeds:
        # The cases differ in what they break, not in what was drawn.
        random = np.random.default_rng(derive_seed("lab", "bound", kind, "domains", seed))
        cues = random.normal(size=(_LARGEST + held_out, max(each.cues for each in CASES.values())))[:, : case.cues]
        sizes.append(np.exp(random.normal(size=_LARGEST))[:domains])
        signs = np.sign(random.normal(size=INVARIANT)) if kind == "additive" else np.ones(INVARIANT)
        if case.shared:
            cues[:, ::2] = 1.0
        targets.append(np.concatenate([np.broadcast_to(signs, (len(cues), INVARIANT)), cues], axis=1))
        basis, upper = np.linalg.qr(random.normal(size=(d, d)))
        # Signs that make the rotation uniform.
        rotations.append(basis * np.sign(np.diagonal(upper)))
    every = torch.from_numpy(np.stack(targets, 1))
    size = torch.from_numpy(np.stack(sizes, 1))
    # Each half of the coordinates has the same curvatures.
    curvature = torch.cat(
        [torch.logspace(0, np.log10(_SLOWEST), n, dtype=torch.float64) for n in (INVARIANT, case.cues)]
    )
    return Problem(
        kind,
        case.noise,
        curvature if kind == "additive" else torch.ones_like(curvature),
        every[:domains],
        size / size.mean(0) if case.unequal else torch.ones_like(size),
        torch.from_numpy(np.stack(rotations)) if case.rotated else None,
        every[_LARGEST:],
    )
