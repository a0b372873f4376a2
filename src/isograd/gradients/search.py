"""Where tuning looks for a hyperparameter: a distribution declared beside the default it competes with."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Choice", "Distribution", "LogUniform", "Uniform"]


@dataclass(frozen=True)
class Uniform:
    """Any number from low to high."""

    low: float
    high: float

    def draw(self, rng: random.Random) -> float:
        """One value."""
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True)
class LogUniform:
    """A number from low to high, both positive, whose logarithm is uniform."""

    low: float
    high: float

    def draw(self, rng: random.Random) -> float:
        """One value."""
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))


@dataclass(frozen=True)
class Choice:
    """One of some values, equally likely."""

    values: Sequence[float | int | str | bool]

    def draw(self, rng: random.Random) -> float | int | str | bool:
        """One value."""
        return rng.choice(self.values)


Distribution = Uniform | LogUniform | Choice
