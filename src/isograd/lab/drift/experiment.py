"""All experiments on drift and cancellation, in one deterministic run that ends in files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from isograd.lab.drift.cancel import same_data
from isograd.lab.drift.exact import run_moments
from isograd.lab.drift.local import disputed, drift_formula
from isograd.lab.drift.page import drift_page
from isograd.lab.drift.plots import PICTURES
from isograd.lab.drift.runs import RATES, group_sizes, long_runs, predictions, restored
from isograd.lab.drift.tasks import TASKS
from isograd.lab.drift.training import Setup
from isograd.lab.output import Progress, Ticker, run_lab
from isograd.lab.records import Findings

__all__ = ["FULL", "QUICK", "Scale", "experiment", "run_drift"]

# Far from any seed of a comparison.
_TUNING: Final = 1_000_000


@dataclass(frozen=True)
class Scale:
    """How much is run.

    Attributes:
        seeds: of every comparison, from 0.
        tuning_seeds: others, for choosing rates.
        steps, long: rollouts of a run, and of a long one.
        rates: the learning rates each rule may choose from.
        groups: group sizes.
        tasks: for the predictions; the last also has the long runs and the groups.
    """

    seeds: int = 20
    tuning_seeds: int = 20
    steps: int = 200
    long: int = 400
    rates: tuple[float, ...] = (0.03, 0.06, 0.12, 0.25, 0.5)
    groups: tuple[int, ...] = (2, 4, 8, 16)
    tasks: tuple[str, ...] = ("tree", "dense", "noisy", "sparse")

    def ticks(self) -> int:
        """Progress steps of the whole run."""
        runs = 4 + len(self.groups) + 2 * len(RATES) + 2 * len(self.tasks)
        return 2 + self.seeds + len(RATES) * self.long + runs * self.steps


FULL: Final = Scale()
QUICK: Final = Scale(
    seeds=3, tuning_seeds=2, steps=12, long=16, rates=(0.03, 0.1), groups=(2, 4), tasks=("short", "sparse")
)


def experiment(scale: Scale, progress: Progress | None = None) -> Findings:
    """Run everything; equal scales give equal findings.

    Args:
        scale: how much.
        progress: called with steps done, steps in all, and what is running.
    """
    findings, tick = Findings(), Ticker(progress, scale.ticks())
    seeds = list(range(scale.seeds))
    main = TASKS[scale.tasks[-1]]

    with torch.no_grad():
        tick.name = "drift formula"
        drift_formula(seeds, findings, tick)
        tick.name = "disputed cases"
        disputed(seeds, findings, tick)
        tick.name = "all groups of a tiny task"
        run_moments(seeds, findings, tick)
        tick.name = "cancellation"
        every = max(scale.steps // 20, 1)
        for task in (main, TASKS["tree"]):
            same_data(task, seeds, Setup(scale.steps, every=every), RATES["adam"], findings, tick, ages=(0, 3))
            # Twice the minibatches at three times the rate: far enough that shared tokens leave the clipping range.
            far = Setup(scale.steps, minibatches=8, every=every)
            same_data(task, seeds, far, 3 * RATES["adam"], findings, tick, ages=(7,))
        tick.name = "long runs"
        long_runs(main, seeds, scale.long, findings, tick)
        tick.name = "group sizes"
        group_sizes(main, seeds, scale.groups, scale.steps, findings, tick)
        tick.name = "cancellation restored"
        restored([main, TASKS["dense"]], seeds, scale.steps, findings, tick)
        tick.name = "predictions"
        tuning = [_TUNING + seed for seed in range(scale.tuning_seeds)]
        predictions([TASKS[task] for task in scale.tasks], seeds, tuning, scale.rates, scale.steps, findings, tick)
    return findings


def run_drift(output: str | os.PathLike[str], scale: Scale, progress: Progress | None = None) -> list[Path]:
    """Run everything and write ``results.json``, ``results.csv``, ``drift.md`` and the plots.

    Args, returns and raises: see :func:`isograd.lab.output.run_lab`.
    """
    return run_lab(output, "drift", scale, lambda: experiment(scale, progress), drift_page, PICTURES)
