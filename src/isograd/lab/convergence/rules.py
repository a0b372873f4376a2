"""The directions that are compared: the library's masks and truncation, for many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isograd.gradients.conflict import Moments, Normalization, conflict_mask, moments

__all__ = ["NORMALIZATIONS", "Arm", "Rules", "mask_of", "truncate"]

NORMALIZATIONS: Final[tuple[Normalization, ...]] = ("mean_square", "mean_squared", "layer_mean", "none")


@dataclass(frozen=True)
class Arm:
    """One way to turn K gradients into a direction.

    Attributes:
        label: its name in tables.
        tau: strength of the mask; 0 is SGD.
        normalization: of V, see :class:`isograd.gradients.Iga`.
        source: what the mask is computed from. "own": the gradients that it masks, as IGA does. "shuffled": those, its
            values in a random order (control). "other": a second mini-batch, independent of the one it masks.
            "running": running averages of the two moments, decay .9, with the present batch among them.
        rank: of the truncation; None keeps all.
    """

    label: str
    tau: float = 0.0
    normalization: Normalization = "mean_square"
    source: Literal["own", "shuffled", "other", "running"] = "own"
    rank: int | None = None


def mask_of(parts: Moments, taus: Float[Tensor, " A"], normalization: Normalization) -> Float[Tensor, "S A m n"]:
    """The library's mask for every run, each a layer of its own: ``exp(-tau V) = exp(-V)^tau``."""
    if normalization == "layer_mean":
        fields = [value.flatten(0, 1) for value in (parts.mean, parts.squared_mean, parts.mean_square)]
        one = torch.vmap(lambda *values: conflict_mask(Moments(*values), 1.0, normalization))(*fields)
        unit: Tensor = one.view_as(parts.mean)
    else:
        # Element by element, so that all runs are one call.
        unit = conflict_mask(parts, 1.0, normalization)
    masks: Tensor = torch.pow(unit, taus[:, None, None])
    return masks


def truncate(D: Float[Tensor, "*runs m n"], rank: int) -> Float[Tensor, "*runs m n"]:
    """The best approximation of the given rank, for each run."""
    U, values, Vh = torch.linalg.svd(D, full_matrices=False)
    best: Tensor = (U[..., :rank] * values[..., None, :rank]) @ Vh[..., :rank, :]
    return best


class Rules:
    """The directions of A arms, step by step; keeps what running averages remember."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.arms = list(arms)
        self.taus = torch.tensor([arm.tau for arm in arms], dtype=torch.float64)
        self._groups = {
            key: [place for place, arm in enumerate(arms) if (arm.normalization, arm.source) == key]
            for key in dict.fromkeys((arm.normalization, arm.source) for arm in arms if arm.tau)
        }
        self._ranks = {
            rank: [place for place, arm in enumerate(arms) if arm.rank == rank]
            for rank in dict.fromkeys(arm.rank for arm in arms if arm.rank is not None)
        }
        self._running: dict[Normalization, Moments] = {}

    def needs(self, source: str) -> bool:
        """Whether some arm's mask comes from there."""
        return any(arm.source == source for arm in self.arms)

    def __call__(
        self,
        grads: Float[Tensor, "K S A m n"],
        other: Float[Tensor, "K S A m n"] | None = None,
        order: Int[Tensor, "S mn"] | None = None,
    ) -> tuple[Float[Tensor, "S A m n"], Float[Tensor, "S A m n"]]:
        """Directions, and the masks in them.

        Args:
            grads: of K domains.
            other: of a second mini-batch, for masks from "other".
            order: a permutation of the coordinates for each seed, for "shuffled".
        """
        parts = moments(grads, dims=4)
        masks = torch.ones_like(parts.mean)
        for (normalization, source), places in self._groups.items():
            seen = parts
            if source == "other":
                assert other is not None
                seen = moments(other, dims=4)
            chosen = Moments(seen.mean[:, places], seen.squared_mean[:, places], seen.mean_square[:, places])
            if source == "running":
                chosen = self._averaged(chosen, normalization)
            found = mask_of(chosen, self.taus[places], normalization)
            if source == "shuffled":
                assert order is not None
                flat = found.flatten(2)
                found = torch.take_along_dim(flat, order[:, None, :], 2).view_as(found)
            masks[:, places] = found
        directions = masks * parts.mean
        for rank, places in self._ranks.items():
            directions[:, places] = truncate(directions[:, places], rank)
        return directions, masks

    def _averaged(self, now: Moments, normalization: Normalization) -> Moments:
        before = self._running.get(normalization, now)
        kept = Moments(
            now.mean,
            torch.lerp(now.squared_mean, before.squared_mean, 0.9),
            torch.lerp(now.mean_square, before.mean_square, 0.9),
        )
        self._running[normalization] = kept
        return kept
