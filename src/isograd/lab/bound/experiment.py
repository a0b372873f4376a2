"""All experiments on the bound in the number of domains, in one deterministic run that ends in files."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from isograd.lab.bound.dynamics import DECAYS, decay, flow, limits, minima, speed
from isograd.lab.bound.page import bound_page
from isograd.lab.bound.plots import PICTURES
from isograd.lab.bound.problems import CASES, Kind
from isograd.lab.bound.scaling import RATES, scaling
from isograd.lab.bound.training import Model, Optimizer
from isograd.lab.output import Progress, Ticker, run_lab
from isograd.lab.records import Findings

__all__ = ["FULL", "QUICK", "Scale", "experiment", "run_bound"]

# Far from any seed of a comparison.
_TUNING: Final = 1_000_000

_KINDS: Final[tuple[Kind, ...]] = ("additive", "redundant")
_MODELS: Final[tuple[Model, ...]] = ("linear", "two-layer")


@dataclass(frozen=True)
class Scale:
    """How much is run.

    Attributes:
        seeds: of every comparison, from 0.
        tuning_seeds: others, for choosing rates, stops and tau.
        domains: the values of K, at most 64.
        cases: names in ``CASES``.
        points: steps among which early stopping chooses; the last is the budget.
        flow, decay, limit: steps of the long runs.
    """

    seeds: int = 20
    tuning_seeds: int = 10
    domains: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    cases: tuple[str, ...] = tuple(CASES)
    points: tuple[int, ...] = (5, 10, 20, 50, 100)
    flow: int = 10_000
    decay: int = 3000
    limit: int = 3000

    def below(self) -> tuple[int, ...]:
        """The values of K that are at most half of the number of cues in the case ``few``."""
        return tuple(K for K in self.domains if CASES["few"].cues // 2 >= K)

    def sweeps(self) -> list[tuple[Kind, Model, str, Optimizer]]:
        """What is trained; AdamW with the raw second moment on the linear model only."""
        return [
            (kind, model, case, optimizer)
            for kind, model, case, optimizer in itertools.product(_KINDS, _MODELS, self.cases, RATES)
            if optimizer != "adamw raw" or model == "linear"
        ]

    def ticks(self) -> int:
        """Progress steps of the whole run."""
        return len(self.sweeps()) * len(self.domains) + 1 + 2 + 2 * len(DECAYS) + 3 + 2 * len(self.below())


FULL: Final = Scale()
QUICK: Final = Scale(
    seeds=2,
    tuning_seeds=1,
    domains=(2, 4),
    cases=("exact", "rotated"),
    points=(2, 4),
    flow=20,
    decay=4,
    limit=4,
)


def experiment(scale: Scale, progress: Progress | None = None) -> Findings:
    """Run everything; equal scales give equal findings.

    Args:
        scale: how much.
        progress: called with steps done, steps in all, and what is running.
    """
    findings, tick = Findings(), Ticker(progress, scale.ticks())
    seeds = list(range(scale.seeds))
    tuning = [_TUNING + seed for seed in range(scale.tuning_seeds)]

    with torch.no_grad():
        tick.name = "closed forms"
        minima(scale.cases, scale.domains, seeds, findings, tick)
        tick.name = "speed and fixed points"
        flow(seeds, scale.flow, findings, tick)
        tick.name = "weight decay"
        decay(seeds, scale.decay, findings, tick)
        tick.name = "optimizers"
        speed(seeds, findings, tick)
        tick.name = "many minima"
        limits(seeds, scale.below(), scale.limit, findings, tick)
        for kind, model, case, optimizer in scale.sweeps():
            tick.name = f"{kind}, {model}, {case}, {optimizer}"
            scaling(
                kind,
                model,
                case,
                optimizer,
                domains=scale.domains,
                seeds=seeds,
                tuning=tuning,
                points=scale.points,
                findings=findings,
                tick=tick,
            )
    return findings


def run_bound(output: str | os.PathLike[str], scale: Scale, progress: Progress | None = None) -> list[Path]:
    """Run everything and write ``results.json``, ``results.csv``, ``bound.md`` and the plots.

    Args, returns and raises: see :func:`isograd.lab.output.run_lab`.
    """
    return run_lab(output, "bound", scale, lambda: experiment(scale, progress), bound_page, PICTURES)
