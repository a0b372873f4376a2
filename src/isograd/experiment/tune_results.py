"""What the trials of a tuning were worth, and which one is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from isograd.experiment.tune_space import Free, Trial

__all__ = ["VALIDATION", "Place", "Result", "Tuned"]

VALIDATION: Final = "validation"
"""The one split that tuning measures."""


@dataclass(frozen=True)
class Place:
    """Where a trial is tried: a family (or one's own files), a seed, and the domain left out (None: none)."""

    group: str
    seed: int
    without: str | None = None

    @property
    def key(self) -> str:
        """Its name in files."""
        return "/".join([self.group, f"seed{self.seed}", *([self.without] if self.without else [])])


@dataclass(frozen=True)
class Result:
    """A trial with its validation accuracies by place, and what went wrong where there is none."""

    trial: Trial
    scores: dict[Place, float]
    troubles: dict[Place, str]

    @property
    def mean(self) -> float | None:
        """The mean over all places; None if one of them failed, for the mean of the others would flatter it."""
        return None if self.troubles or not self.scores else math.fsum(self.scores.values()) / len(self.scores)


@dataclass(frozen=True)
class Tuned:
    """The results of one method in the order of their numbers, and what was searched."""

    label: str
    free: Mapping[str, Free]
    results: Sequence[Result]

    @property
    def chosen(self) -> Result | None:
        """The best; of equals the earliest, so that only what is better displaces the defaults. None: all failed."""
        done = [result for result in self.results if result.mean is not None]
        # max keeps the first of equals.
        return max(done, key=lambda result: result.mean or 0.0, default=None)

    @property
    def curve(self) -> list[float | None]:
        """The best mean so far after each trial; None until one has succeeded."""
        best: list[float | None] = []
        for result in self.results:
            known = [score for score in (result.mean, best[-1] if best else None) if score is not None]
            best.append(max(known, default=None))
        return best
