"""How much time is left, from the progress of all jobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["TimeLeft"]

TRAINING_SHARE: Final = 0.8
"""Training's assumed share of a job; measuring is the rest."""


class TimeLeft:
    """An estimate of the seconds left, from how fast the fractions of all jobs have grown.

    What earlier calls had done already (reused runs, the first steps of resumed ones) took no time now, so it says
    nothing about the speed and is left out.

    Args:
        trained: for each job, whether it trains; one that does not is measured only.
    """

    def __init__(self, trained: Sequence[bool]) -> None:
        self._shares = [TRAINING_SHARE if train else 0.0 for train in trained]
        self._before: list[float | None] = [None] * len(trained)
        self._now = [0.0] * len(trained)
        self._ended = [False] * len(trained)

    def step(self, job: int, phase: str, done: int, total: int) -> None:
        """A job has told that ``done`` of ``total`` steps (or completions) of a phase are done."""
        share = self._shares[job]
        start, length = (0.0, share) if phase == "train" else (share, 1.0 - share)
        if self._before[job] is None:
            # The first word comes after the first step; measuring at once means that training was reused.
            self._before[job] = start + (length * (done - 1) / total if phase == "train" else 0.0)
        self._now[job] = max(self._now[job], start + length * done / total)

    def end(self, job: int, *, done: bool = True) -> None:
        """A job has ended; one that never told anything was reused whole, or failed at once.

        One that failed leaves nothing to be done, but it has done no more than it told: a job that fails at once says
        nothing about the speed.
        """
        self._ended[job] = True
        if done:
            if self._before[job] is None:
                self._before[job] = 1.0
            self._now[job] = 1.0

    def seconds(self, elapsed: float) -> float | None:
        """The seconds left after ``elapsed`` seconds; None while nothing has been done."""
        done = math.fsum(now - (before or 0.0) for now, before in zip(self._now, self._before, strict=True))
        left = math.fsum(1.0 - now for now, ended in zip(self._now, self._ended, strict=True) if not ended)
        if left <= 0:
            return 0.0
        return elapsed * left / done if done > 0 else None
