"""All experiments on convergence, in one deterministic run that ends in files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from isograd.lab.convergence.bias import BATCHES, CASES, TAUS, settling
from isograd.lab.convergence.factors import RANK, factor_runs
from isograd.lab.convergence.law import climbing, standstill
from isograd.lab.convergence.page import convergence_page
from isograd.lab.convergence.plots import PICTURES
from isograd.lab.convergence.problems import least_squares, tanh_net
from isograd.lab.convergence.rates import DISTANCES, exact, from_afar, noisy, ranks
from isograd.lab.output import Progress, Ticker, run_lab
from isograd.lab.records import Findings

__all__ = ["FULL", "QUICK", "Scale", "experiment", "run_convergence"]


@dataclass(frozen=True)
class Scale:
    """How much is run.

    Attributes:
        seeds: of every comparison, from 0.
        exact, noisy, ranks, factors, standstill: steps of a run of each experiment.
        draws: of the noise, for expectations.
    """

    seeds: int = 20
    exact: int = 2000
    noisy: int = 4000
    ranks: int = 1000
    factors: int = 2000
    standstill: int = 10_000
    draws: int = 4000

    def ticks(self) -> int:
        """Progress steps of the whole run."""
        masks = (len(CASES) + len(TAUS) - 1) * len(BATCHES)
        descents = 4 * self.exact + 3 * self.noisy + (3 + len(DISTANCES)) * self.ranks
        return masks + descents + 3 * (self.factors + 1) + self.standstill + 1


FULL: Final = Scale()
QUICK: Final = Scale(seeds=3, exact=60, noisy=60, ranks=40, factors=40, standstill=120, draws=200)


def experiment(scale: Scale, progress: Progress | None = None) -> Findings:
    """Run everything; equal scales give equal findings.

    Args:
        scale: how much.
        progress: called with steps done, steps in all, and what is running.
    """
    findings, tick = Findings(), Ticker(progress, scale.ticks())
    seeds = list(range(scale.seeds))

    with torch.no_grad():
        shared, different = least_squares(seeds, "shared"), least_squares(seeds, "different")
        nets = [tanh_net(seeds, "shared"), tanh_net(seeds, "different")]
        tick.name = "without noise"
        exact([shared, different, *nets], seeds, scale.exact, findings, tick)
        tick.name = "from afar"
        from_afar(different, seeds, scale.ranks, findings, tick)
        tick.name = "standstill"
        standstill(seeds, scale.standstill, findings, tick)
        tick.name = "mini-batches"
        noisy([shared, different, nets[1]], seeds, scale.noisy, findings, tick)
        tick.name = "where it settles"
        settling(seeds, scale.draws, findings, tick)
        tick.name = "ranks"
        ranks([shared, different, nets[1]], seeds, scale.ranks, findings, tick)
        climbing(findings)
        tick.name = "factors"
        within = least_squares(seeds, "shared", rank=RANK)
        factor_runs(
            {"within reach": within, "out of reach, shared": shared, "out of reach, different": different},
            seeds,
            scale.factors,
            findings,
            tick,
        )
    return findings


def run_convergence(output: str | os.PathLike[str], scale: Scale, progress: Progress | None = None) -> list[Path]:
    """Run everything and write ``results.json``, ``results.csv``, ``convergence.md`` and the plots.

    Args, returns and raises: see :func:`isograd.lab.output.run_lab`.
    """
    return run_lab(output, "convergence", scale, lambda: experiment(scale, progress), convergence_page, PICTURES)
