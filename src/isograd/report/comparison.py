"""What a comparison says: every metric of every method over seeds, beside its paired difference to a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isograd.common.errors import UserError
from isograd.report.learning import COUNTS, learning_values, reinforced
from isograd.report.runs import POOLINGS, Distance, Run, SplitScore, read_runs
from isograd.report.summary import Cell, Method, describe_split, group_runs, split_order

__all__ = ["Comparison", "Group", "Metric", "Row", "read_comparison"]

RATIOS: Final = {"step_seconds": "step_time_ratio", "peak_memory_bytes": "peak_memory_ratio"}
"""Costs, and the names of their ratios to the baseline's."""


@dataclass(frozen=True)
class Metric:
    """One number of a run: its name in files, its title in tables, and how it is read (None: not measured).

    ``digits`` are those after the point in tables.
    """

    key: str
    title: str
    value: Callable[[Run], float | None]
    digits: int = 3


@dataclass(frozen=True)
class Row:
    """One metric of one method: its mean over seeds, and the mean of its differences to the baseline's same seeds."""

    method: Method
    metric: str
    cell: Cell | None
    difference: Cell | None


@dataclass(frozen=True)
class Group:
    """What is compared with each other: the runs of all methods on the data of one family.

    ``threshold`` is the reward that reinforcement learning is to reach, whose steps are counted; None: they are not.
    """

    name: str
    folders: Mapping[Path, Run]
    methods: Sequence[Method]
    baseline: Method
    threshold: float | None = None

    @property
    def seeds(self) -> list[int]:
        """The seeds of all runs."""
        return sorted({run.seed for run in self.folders.values()})

    def accuracies(self) -> list[Metric]:
        """Accuracy in every split."""
        return [
            Metric(f"accuracy/{split}", describe_split(split).title, _of_split(split, lambda score: score.accuracy))
            for split in split_order(self.methods)
        ]

    def chains(self) -> list[Metric]:
        """Chain accuracy in every split."""
        return [
            Metric(f"chain/{split}", describe_split(split).title, _of_split(split, lambda score: score.chain_accuracy))
            for split in split_order(self.methods)
        ]

    def distances(self) -> list[Metric]:
        """The Logical Consistency Score, and the distance between sets without which it says nothing."""
        return [
            Metric(f"lcs/{pooling}/{side}", f"{title}: {side}", _of_lcs(pooling, side))
            for pooling, title in POOLINGS.items()
            for side in ("within", "between")
        ]

    def layers(self) -> list[Metric]:
        """The distance within sets over the one between sets, by layer: does the score depend on where it is taken?"""
        found = sorted({layer for run in self.folders.values() for layer in run.lcs.by_layer})
        return [
            Metric(f"lcs_ratio/{pooling}/layer_{layer}", f"{title}: layer {layer}", _of_layer(pooling, layer))
            for pooling, title in POOLINGS.items()
            for layer in found
        ]

    def learning(self) -> list[Metric]:
        """What the logs of reinforcement learning say; nothing where no run with scores logged rewards."""
        if not any(reinforced(run) for method in self.methods for run in method.scored):
            return []
        values = learning_values(self.threshold)
        return [
            Metric(f"learning/{key}", title, value, digits=0 if key in COUNTS else 3)
            for key, (title, value) in values.items()
        ]

    def costs(self) -> list[Metric]:
        """Seconds of a step and peak memory; the untrained student has neither."""
        return [
            Metric("step_seconds", "seconds per step", lambda run: run.step_seconds),
            Metric("peak_memory_bytes", "peak memory", lambda run: run.peak_memory_bytes),
        ]

    def metrics(self) -> list[Metric]:
        """All of them."""
        return [*self.accuracies(), *self.chains(), *self.distances(), *self.layers(), *self.learning(), *self.costs()]

    def difference(self, method: Method, metric: Metric) -> Cell | None:
        """A metric minus the baseline's on the seeds that both have; None for the baseline itself."""
        return None if method is self.baseline else method.paired(self.baseline, metric.value)

    def ratio(self, method: Method, metric: Metric) -> Cell | None:
        """A metric over the baseline's on the seeds that both have."""
        return method.paired(self.baseline, lambda run: metric.value(run) or None, lambda mine, theirs: mine / theirs)

    def rows(self) -> list[Row]:
        """Every metric of every method; the costs as ratios too, which are paired themselves."""
        rows = []
        for method in self.methods:
            rows += [
                Row(method, metric.key, method.over_seeds(metric.value), self.difference(method, metric))
                for metric in self.metrics()
            ]
            rows += [Row(method, RATIOS[cost.key], self.ratio(method, cost), None) for cost in self.costs()]
        return rows


@dataclass(frozen=True)
class Comparison:
    """The groups of a comparison, in order."""

    groups: Sequence[Group]

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for group in self.groups for run in group.folders.values()]


def read_comparison(
    groups: Mapping[str, Sequence[Path]], baseline: str, *, threshold: float | None = None
) -> Comparison:
    """Read the run folders of a comparison.

    Args:
        groups: run folders by group, methods in the order in which they are to stand.
        baseline: the label of the method that the others are compared with.
        threshold: the reward that reinforcement learning is to reach, if the steps to it are to be counted.

    Raises:
        UserError: a group without a run of the baseline, or as :func:`isograd.report.runs.read_runs`.
    """
    read = []
    for name, folders in groups.items():
        runs = read_runs(folders)
        methods = group_runs(runs)
        found = next((method for method in methods if method.label == baseline), None)
        if found is None:
            raise UserError(f"{name}: no run of the baseline {baseline!r}")
        read.append(Group(name, dict(zip(map(Path, folders), runs, strict=True)), methods, found, threshold))
    return Comparison(read)


def _of_split(split: str, value: Callable[[SplitScore], float | None]) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        score = run.splits.get(split)
        return None if score is None else value(score)

    return read


def _of_lcs(pooling: str, side: str) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        distance: float | None = getattr(getattr(run.lcs, pooling), side)
        return distance

    return read


def _of_layer(pooling: str, layer: int) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        if layer not in run.lcs.by_layer:
            return None
        distance: Distance = getattr(run.lcs.by_layer[layer], pooling)
        return distance.ratio

    return read
