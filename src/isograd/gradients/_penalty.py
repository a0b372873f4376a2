"""What methods share that add a weighted penalty to the mean loss."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from isograd.gradients._base import LossMethod
from isograd.gradients._checks import at_least, non_negative
from isograd.gradients.schedule import ramped

__all__ = ["PenaltyMethod"]


@dataclass(frozen=True)
class PenaltyMethod(LossMethod, ABC):
    """A loss method with a penalty that begins to act after some steps.

    Attributes:
        weight: of the penalty, >= 0; every method has a default of its own.
        start: optimizer steps for which the weight is 0.

    Raises:
        UserError: a parameter is out of its range.
    """

    name: ClassVar[str]

    weight: float
    start: int = 0

    def __post_init__(self) -> None:
        non_negative(self.name, "weight", self.weight)
        at_least(self.name, "start", self.start, 0)

    def at(self, step: int, total: int) -> Self:
        del total
        return replace(self, weight=ramped(self.weight, step, self.start))
