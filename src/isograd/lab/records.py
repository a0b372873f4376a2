"""What an experiment hands back: numbers with intervals over seeds, and lines to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from isograd.evaluate.statistics import bootstrap_interval

__all__ = ["Findings", "Line", "Record", "Tick"]

Tick = Callable[[], None]


@dataclass(frozen=True)
class Record:
    """One number.

    Attributes:
        experiment, task, arm, measure: what it is.
        at: where on the experiment's axis (group size, minibatch, learning rate), if it has one.
        mean, low, high: over seeds, with the 95% bootstrap interval; NaN bounds for a single value.
        n: the number of seeds that have a value.
    """

    experiment: str
    task: str
    arm: str
    measure: str
    at: float | None
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Line:
    """A curve: means over seeds and 95% bootstrap intervals at each x."""

    experiment: str
    task: str
    arm: str
    measure: str
    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def _summary(values: Iterable[float]) -> tuple[float, float, float, int]:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return math.nan, math.nan, math.nan, 0
    low, high = bootstrap_interval(known)
    return math.fsum(known) / len(known), low, high, len(known)


@dataclass
class Findings:
    """Collects records and lines."""

    records: list[Record] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def add(
        self, experiment: str, task: str, arm: str, measure: str, values: Iterable[float], at: float | None = None
    ) -> None:
        """Summarize one value a seed; values that are not finite (nothing to measure) are left out and lower n."""
        self.records.append(Record(experiment, task, arm, measure, at, *_summary(values)))

    def line(
        self, experiment: str, task: str, arm: str, measure: str, x: Sequence[float], values: Sequence[Sequence[float]]
    ) -> None:
        """Summarize one curve a seed."""
        points = [_summary(at) for at in zip(*values, strict=True)]
        mean, low, high = (tuple(point[part] for point in points) for part in range(3))
        self.lines.append(Line(experiment, task, arm, measure, tuple(x), mean, low, high))

    def find(
        self,
        experiment: str,
        *,
        task: str | None = None,
        arm: str | None = None,
        measure: str | None = None,
        at: float | None = None,
    ) -> list[Record]:
        """The records that match; None matches all."""
        return [
            record
            for record in self.records
            if record.experiment == experiment
            and (task is None or record.task == task)
            and (arm is None or record.arm == arm)
            and (measure is None or record.measure == measure)
            and (at is None or record.at == at)
        ]
