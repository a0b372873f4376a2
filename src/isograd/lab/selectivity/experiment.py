"""Selectivity of every mask form over training, with intervals over seeds."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from isograd.lab.output import Progress, Ticker, run_lab
from isograd.lab.records import Findings
from isograd.lab.selectivity.page import selectivity_page
from isograd.lab.selectivity.plots import PICTURES
from isograd.lab.selectivity.probe import FORMS, KINDS
from isograd.lab.selectivity.training import Setup, Transmission, train_and_probe

__all__ = ["FULL", "QUICK", "Scale", "experiment", "run_selectivity"]


@dataclass(frozen=True)
class Scale:
    """How much is run.

    Attributes:
        model: the student's folder.
        seeds: of data and training, from 0.
        families: each a task of its own.
        steps, every, sets, probe_sets, learning_rate: see :class:`~isograd.lab.selectivity.training.Setup`.
        trust_remote_code: let the model's repository run its own code.
    """

    model: str = ""
    seeds: int = 5
    families: tuple[str, ...] = ("arithmetic", "deduction")
    steps: int = 120
    every: int = 20
    sets: int = 800
    probe_sets: int = 16
    learning_rate: float = 7e-3
    trust_remote_code: bool = False

    def setup(self, family: str) -> Setup:
        """That of one family."""
        names = ("model", "steps", "every", "sets", "probe_sets", "learning_rate", "trust_remote_code")
        shared: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Setup(family=family, **shared)


FULL: Final = Scale()
QUICK: Final = replace(FULL, seeds=2, families=("arithmetic",), steps=2, every=2, sets=16, probe_sets=2)


def experiment(scale: Scale, progress: Progress | None = None) -> Findings:
    """Train and probe; equal scales give equal findings.

    Args:
        scale: how much.
        progress: called with steps done, steps in all, and what is running.
    """
    findings = Findings()
    tick = Ticker(progress, scale.steps * scale.seeds * len(scale.families))

    for family in scale.families:
        runs = []
        for seed in range(scale.seeds):
            tick.name = f"{family}, seed {seed}"
            runs.append(train_and_probe(scale.setup(family), seed, tick))
        _summarize(family, runs, findings)
    return findings


def _summarize(family: str, runs: list[list[Transmission]], findings: Findings) -> None:
    """Curves over steps, and their means over training."""
    steps = [probe.step for probe in runs[0]]
    for source in ("mixed", "own"):
        for form in FORMS:
            curves: dict[str, list[list[float]]] = {
                kind: [[probe.kept[kind, source, form] for probe in run] for run in runs] for kind in KINDS[1:]
            }
            curves["selectivity"] = [
                [logic / cue if cue > 0 else float("nan") for logic, cue in zip(*pair, strict=True)]
                for pair in zip(curves["logic"], curves["cue"], strict=True)
            ]
            for measure, values in curves.items():
                findings.line(source, family, form, measure, steps, values)
                for place, step in enumerate(steps):
                    findings.add(source, family, form, measure, [run[place] for run in values], at=step)
    for kind in KINDS:
        findings.line("loss", family, kind, "loss", steps, [[probe.losses[kind] for probe in run] for run in runs])
    for kind in KINDS[1:]:
        values = [[probe.cosine[kind] for probe in run] for run in runs]
        findings.line("agreement", family, kind, "cosine", steps, values)
        for place, step in enumerate(steps):
            findings.add("agreement", family, kind, "cosine", [run[place] for run in values], at=step)


def run_selectivity(output: str | os.PathLike[str], scale: Scale, progress: Progress | None = None) -> list[Path]:
    """Run everything and write ``results.json``, ``results.csv``, ``selectivity.md`` and the plots.

    Args, returns and raises: see :func:`isograd.lab.output.run_lab`.
    """
    return run_lab(output, "selectivity", scale, lambda: experiment(scale, progress), selectivity_page, PICTURES)
