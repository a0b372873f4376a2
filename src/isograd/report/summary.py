"""Runs gathered into methods, and their numbers averaged over seeds."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from isograd.common.seeding import derive_seed
from isograd.report.colors import DASHES, dash, slot
from isograd.report.runs import Run, SplitScore

__all__ = [
    "SPLITS",
    "Cell",
    "Method",
    "SplitName",
    "average",
    "chance_level",
    "describe_split",
    "group_runs",
    "split_order",
]

# Levels of guessing that differ by less than this are one level: whole percent do not tell them apart.
_SAME_CHANCE = 0.005

_RESAMPLES = 2000

_T = TypeVar("_T")


class SplitName(NamedTuple):
    """What people call a split, and what is different about it."""

    title: str
    note: str


SPLITS = {
    "id": SplitName("in distribution", "training domains, cue as in training"),
    "ood_domain": SplitName("unseen domains", "domains never fine-tuned on"),
    "cue_random": SplitName("cue random", "the cue carries no information"),
    "cue_reversed": SplitName("cue reversed", "the cue points to a wrong answer"),
    "ood_template": SplitName("held-out sentences", "sentence templates never trained on"),
    "ood_depth": SplitName("longer chains", "one step more than in training"),
}


@dataclass(frozen=True)
class Cell:
    """One number of one method: the mean over ``n`` seeds, its spread, and a 95% interval.

    With two seeds or more, ``sd`` is their sample standard deviation and the interval is a bootstrap over seeds.
    With one seed there is no ``sd``, and the interval is the run's own (over reasoning graphs), if it has one.
    """

    mean: float
    n: int
    sd: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Method:
    """All runs that share a label. ``index`` is its place in the report, ``slot`` its color, ``dash`` its line."""

    label: str
    index: int
    slot: int
    dash: tuple[float, ...]
    base: bool
    runs: tuple[Run, ...]

    @property
    def marker(self) -> int:
        """The shape of its points: the number of its dash pattern, so that color and shape tell methods apart."""
        return DASHES.index(self.dash)

    @property
    def scored(self) -> list[Run]:
        """The runs that finished and were evaluated, by seed."""
        return sorted((run for run in self.runs if run.trouble is None), key=lambda run: run.seed)

    @property
    def logged(self) -> bool:
        """Whether any run left a training log."""
        return any(run.training for run in self.runs)

    @property
    def is_erm(self) -> bool:
        """Whether this is empirical risk minimization, to which the others are compared."""
        return self.label.casefold() == "erm"

    def over_seeds(
        self,
        value: Callable[[Run], float | None],
        interval: Callable[[Run], tuple[float, float] | None] = lambda _: None,
    ) -> Cell | None:
        """``value`` averaged over the scored runs that have it; ``interval`` serves where there is one seed."""
        found = [(run, number) for run in self.scored if (number := value(run)) is not None]
        if not found:
            return None
        return average([number for _, number in found], interval(found[0][0]) if len(found) == 1 else None)

    def accuracy(self, split: str) -> Cell | None:
        """Share of right answers in a split, in [0, 1]."""
        return self.over_seeds(
            lambda run: _of(run, split, lambda score: score.accuracy),
            lambda run: _of(run, split, lambda score: score.accuracy_ci),
        )

    def chain_accuracy(self, split: str) -> Cell | None:
        """Share of right reasoning chains in a split, in [0, 1]."""
        return self.over_seeds(
            lambda run: _of(run, split, lambda score: score.chain_accuracy),
            lambda run: _of(run, split, lambda score: score.chain_accuracy_ci),
        )

    def domain_accuracy(self, split: str, domain: str, *, chain: bool = False) -> Cell | None:
        """Share of right answers (or chains) in one domain of a split, in [0, 1]."""

        def value(score: SplitScore) -> float | None:
            found = score.by_domain.get(domain)
            return None if found is None else found.chain_accuracy if chain else found.accuracy

        return self.over_seeds(lambda run: _of(run, split, value))

    def lcs(self, pooling: str, side: str) -> Cell | None:
        """Distance of pooled representations; ``pooling`` is mean or last, ``side`` within or between."""
        return self.over_seeds(lambda run: getattr(getattr(run.lcs, pooling), side))

    def seconds(self) -> Cell | None:
        """Wall time of training in seconds; the untrained student has none."""
        return None if self.base else self.over_seeds(lambda run: run.seconds)

    def time_ratio(self, other: Method) -> float | None:
        """Training time over that of ``other``, mean over common seeds; the untrained student has none."""
        if self.base or other.base:
            return None
        cell = self.paired(other, lambda run: run.seconds or None, lambda mine, theirs: mine / theirs)
        return None if cell is None else cell.mean

    def paired(
        self,
        other: Method,
        value: Callable[[Run], float | None],
        compare: Callable[[float, float], float] = operator.sub,
    ) -> Cell | None:
        """``compare(mine, theirs)`` averaged over the seeds for which both have a value; None where there is none."""
        mine, theirs = (
            {run.seed: number for run in method.scored if (number := value(run)) is not None}
            for method in (self, other)
        )
        common = sorted(mine.keys() & theirs.keys())
        return average([compare(mine[seed], theirs[seed]) for seed in common]) if common else None

    def difference(self, other: Method, split: str) -> Cell | None:
        """Accuracy minus that of ``other``, paired on common seeds; None with fewer than two of them."""
        cell = self.paired(other, lambda run: _of(run, split, lambda score: score.accuracy))
        return cell if cell is not None and cell.n > 1 else None


def group_runs(runs: Sequence[Run]) -> list[Method]:
    """Methods in order of their first run; colors go to the trained ones in that order."""
    by_label: dict[str, list[Run]] = {}
    for run in runs:
        by_label.setdefault(run.label, []).append(run)
    methods: list[Method] = []
    trained = 0
    for label, members in by_label.items():
        base = all(run.base for run in members)
        methods.append(
            Method(label, len(methods), slot(trained, base=base), dash(trained), base, tuple(members)),
        )
        trained += not base
    return methods


def split_order(methods: Sequence[Method]) -> list[str]:
    """The splits that were evaluated: the known ones first, then the others by name."""
    found = {split for method in methods for run in method.scored for split in run.splits}
    return [split for split in SPLITS if split in found] + sorted(found - SPLITS.keys())


def chance_level(methods: Sequence[Method], splits: Sequence[str]) -> float | None:
    """Share of right answers that guessing gives in ``splits``, in [0, 1].

    Returns:
        The mean over the runs' splits; None where one of them does not say, or where two differ by half a percent.
    """
    scores = [
        run.splits[split] for method in methods for run in method.scored for split in splits if split in run.splits
    ]
    levels = [score.chance for score in scores if score.chance is not None]
    if not levels or len(levels) < len(scores) or max(levels) - min(levels) >= _SAME_CHANCE:
        return None
    return math.fsum(levels) / len(levels)


def describe_split(split: str) -> SplitName:
    """The title and note of a split; an unknown one is called by its name."""
    return SPLITS.get(split, SplitName(split.replace("_", " "), ""))


def average(values: Sequence[float], interval: tuple[float, float] | None = None) -> Cell:
    """Mean, sample standard deviation and 95% percentile bootstrap interval over seeds.

    With one value there is nothing to resample and ``interval`` is taken instead. The report reads run folders only,
    so it does not borrow the bootstrap of the evaluation room; over a handful of seeds these lines are all it takes.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 1:
        return Cell(float(data[0]), 1, None, interval)
    generator = np.random.default_rng(derive_seed("report", "seeds"))
    means = data[generator.integers(len(data), size=(_RESAMPLES, len(data)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Cell(math.fsum(values) / len(data), len(data), float(data.std(ddof=1)), (float(low), float(high)))


def _of(run: Run, split: str, value: Callable[[SplitScore], _T | None]) -> _T | None:
    score = run.splits.get(split)
    return None if score is None else value(score)
