"""Whether a difference to the baseline is certain: paired tests over common seeds, for each of several rivals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from isograd.report.runs import Run
from isograd.report.summary import Cell, Method
from isograd.report.words import SEEDS_FOR_A_CLAIM, number_word

__all__ = ["LEVEL", "Judged", "Value", "judge", "paired_p", "student_p"]

LEVEL: Final = 0.05
"""A difference is called certain below this p-value."""
_NO_SPREAD: Final = 1e-9
"""Differences of rates with a smaller standard deviation are equal but for rounding."""

Value = Callable[[Run], float | None]


@dataclass(frozen=True)
class Judged:
    """A rival's paired difference to the baseline; ``p`` is adjusted for ``choices``, the rivals compared."""

    method: Method
    gain: Cell
    p: float
    choices: int

    @property
    def above(self) -> bool:
        """Whether the bootstrap interval lies wholly above zero."""
        return self.gain.interval is not None and self.gain.interval[0] > 0

    @property
    def below(self) -> bool:
        """Whether it lies wholly below zero."""
        return self.gain.interval is not None and self.gain.interval[1] < 0

    @property
    def enough(self) -> bool:
        """Whether there are seeds enough for a claim."""
        return self.gain.n >= SEEDS_FOR_A_CLAIM

    @property
    def wins(self) -> bool:
        """Whether it is certainly better than the baseline."""
        return self.enough and self.above and self.p < LEVEL

    @property
    def rank(self) -> tuple[bool, bool, bool, float]:
        """The greater, the more it has to say: a certain win, then five seeds, then several, then the mean."""
        return self.wins, self.enough, self.gain.n > 1, self.gain.mean

    def said(self) -> str:
        """Whether the difference is certain, in words; for one that is above zero."""
        test = "the same on every seed: exact sign-flip test" if _equal(self.gain) else "paired t test"
        among = f", allowing for {self.choices} methods" if self.choices > 1 else ""
        told = f"{test}, p {'< 0.001' if self.p < 0.001 else f'= {self.p:.2g}'}{among}"
        if not self.enough:
            return f"not certain, {number_word(self.gain.n)} seeds are too few ({told})"
        return f"{'certain' if self.wins else 'not certain'} ({told})"


def judge(rivals: Sequence[Method], base: Method, value: Value) -> list[Judged]:
    """Each rival that shares a seed with the baseline; p-values are multiplied by their number (Bonferroni)."""
    gains = [(method, cell) for method in rivals if (cell := method.paired(base, value)) is not None]
    return [Judged(method, cell, min(1.0, len(gains) * paired_p(cell)), len(gains)) for method, cell in gains]


def paired_p(gain: Cell) -> float:
    """Two-sided p-value of the hypothesis that the mean of ``n`` paired differences is zero.

    Student's t test; where all differences are equal, which leaves it without a spread, the exact sign-flip test: of
    2^n equally likely signings two are as extreme.

    Returns:
        The p-value in [0, 1]; 1 for fewer than two differences, and where all are zero.
    """
    if gain.n < 2 or (_equal(gain) and abs(gain.mean) < _NO_SPREAD):
        return 1.0
    return 2.0 ** (1 - gain.n) if _equal(gain) else student_p(gain)


def student_p(gain: Cell) -> float:
    """Two-sided p-value of Student's t test that the mean of ``n`` paired differences is zero.

    For whole degrees of freedom the distribution is a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    Args:
        gain: of at least two differences that vary.
    """
    if gain.n < 2 or not gain.sd:
        raise ValueError("Student's t test needs two differences that vary")
    freedom = gain.n - 1
    angle = math.atan(abs(gain.mean) / (gain.sd / math.sqrt(gain.n)) / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(freedom // 2):
        total += term
        factor = (2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2)
        term *= factor * math.cos(angle) ** 2
    within = math.sin(angle) * total
    return 1 - (2 / math.pi * (angle + within) if odd else within)


def _equal(gain: Cell) -> bool:
    return gain.sd is not None and gain.sd < _NO_SPREAD
