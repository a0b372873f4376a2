"""Risk on unseen domains against the number of domains, with learning rates chosen on validation domains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isograd.lab.bound.problems import CASES, Kind, Problem, draw_problem
from isograd.lab.bound.rules import ERM, RULES
from isograd.lab.bound.training import Model, Optimizer, Setup, train_weights
from isograd.lab.records import Findings, Tick

__all__ = ["CHOSEN", "DECAY", "FLOOR", "RATES", "SHUFFLED", "cases_of", "fitted_slope", "scaling", "task_name"]

_ADAMW: Final = (0.01, 0.03, 0.1, 0.3)
RATES: Final[Mapping[Optimizer, tuple[float, ...]]] = {
    "sgd": (0.03, 0.1, 0.3, 1.0),
    "adamw": _ADAMW,
    "adamw raw": _ADAMW,
}
"""What every rule may choose from; for SGD in units of the inverse of the mean loss's largest curvature."""

DECAY: Final[Mapping[Optimizer, float]] = {"sgd": 0.0, "adamw": 0.01, "adamw raw": 0.01}
"""Decoupled weight decay; AdamW's is that of PyTorch."""

CHOSEN: Final = "IGA, tau chosen"
SHUFFLED: Final = "shuffled mask, tau 3"

FLOOR: Final = 1e-8
"""Smaller risks count as this where logarithms are taken."""

Reading = Literal["budget", "stopped"]


def task_name(kind: Kind, model: Model, case: str, optimizer: Optimizer) -> str:
    """The name of a sweep in records."""
    return f"{kind}, {model}, {case}, {optimizer}"


def cases_of(findings: Findings) -> list[str]:
    """The cases that were run, in their order."""
    run = {record.task for record in findings.find("minimum")}
    return [case for case in CASES if case in run]


def fitted_slope(domains: Sequence[int], values: Float[Tensor, "D S"]) -> list[float]:
    """The slope of log value over log K by least squares, for each seed; NaN where a value is not positive."""
    x = np.log(np.asarray(domains, dtype=np.float64))
    return [float(np.polyfit(x, np.log(row), 1)[0]) if min(row) > 0 else math.nan for row in values.T.tolist()]


def scaling(
    kind: Kind,
    model: Model,
    case: str,
    optimizer: Optimizer,
    *,
    domains: Sequence[int],
    seeds: Sequence[int],
    tuning: Sequence[int],
    points: tuple[int, ...],
    findings: Findings,
    tick: Tick,
) -> None:
    """Add one sweep over K, rules and seeds as experiment ``scaling``.

    Every rule's rate, and for the reading ``stopped`` also its step among ``points``, is what has the lowest mean loss
    on validation domains of the tuning seeds, for each K by itself. ``IGA, tau chosen`` chooses tau in the same way.

    Args:
        kind, model, case, optimizer: which sweep; see :mod:`isograd.lab.bound.problems` and ``Setup``.
        domains: the values of K.
        seeds: of the comparison.
        tuning: other seeds, for the choices.
        points: steps; the last is the budget.
        findings, tick: where records and progress go.

    Measures: ``risk`` after the budget (``at`` is K); over all K ``slope`` of the risk (and ``worst slope``,
    ``absolute slope`` for the additive problem), ``gap slope`` of what IGA gains on ERM, and ``log ratio`` of the
    risk to that of ERM, its mean over K (``log ratio, stopped`` and ``log ratio to shuffled`` likewise; for the
    redundant problem also over K <= q and K > q, apart).
    """
    task = task_name(kind, model, case, optimizer)
    setup = Setup(optimizer, points, model, DECAY[optimizer])
    iga = [place for place, rule in enumerate(RULES) if rule.kind == "iga"]
    labels = [rule.label for rule in RULES] + [CHOSEN]
    risks: dict[str, list[Tensor]] = {}
    for K in domains:
        rates = torch.tensor(RATES[optimizer], dtype=torch.float64)
        trial = draw_problem(kind, case, K, tuning)
        weights = train_weights(trial, RULES, _scaled(rates.expand(len(RULES), -1), optimizer, trial), tuning, setup)
        scores = trial.validation(weights).mean(-1).nan_to_num(nan=math.inf)  # [P A R]
        by_stop = scores.movedim(0, -1).flatten(1)
        at_end, anywhere = scores[-1].min(1), by_stop.min(1)
        # First of equals; the rate of each choice, and the point of the second.
        picked = torch.stack([at_end.indices, anywhere.indices // len(points)], 1)
        stops = anywhere.indices % len(points)
        problem = draw_problem(kind, case, K, seeds)
        weights = train_weights(problem, RULES, _scaled(rates[picked], optimizer, problem), seeds, setup)
        budget = weights[-1, :, 0]
        stopped = weights[stops, torch.arange(len(RULES)), 1]
        best = iga[int(at_end.values[iga].argmin())]
        best_stopped = iga[int(anywhere.values[iga].argmin())]
        final = torch.cat([budget, budget[best : best + 1]])
        found = {
            "risk": problem.risk(final),
            "risk, stopped": problem.risk(torch.cat([stopped, stopped[best_stopped : best_stopped + 1]])),
        }
        if kind == "additive":
            found |= {"worst": problem.worst_risk(final), "absolute": problem.absolute_risk(final)}
        for measure, values in found.items():
            risks.setdefault(measure, []).append(values)
        tick()
    all_risks = {measure: torch.stack(values) for measure, values in risks.items()}  # [D A S]
    for at, K in enumerate(domains):
        for place, label in enumerate(labels):
            findings.add("scaling", task, label, "risk", all_risks["risk"][at, place].tolist(), at=K)
    _summaries(findings, task, labels, domains, CASES[case].cues, all_risks)


def _summaries(
    findings: Findings,
    task: str,
    labels: Sequence[str],
    domains: Sequence[int],
    cues: int,
    risks: Mapping[str, Tensor],
) -> None:
    logs = {name: values.clamp(min=FLOOR).log() for name, values in risks.items()}
    erm, shuffled = labels.index(ERM.label), labels.index(SHUFFLED)
    for place, label in enumerate(labels):
        for measure, values in risks.items():
            if measure != "risk, stopped":
                name = "slope" if measure == "risk" else f"{measure} slope"
                slopes = fitted_slope(domains, values[:, place].clamp(min=FLOOR))
                findings.add("scaling", task, label, name, slopes)
        if label == ERM.label:
            continue
        for measure, name in (("risk", "log ratio"), ("risk, stopped", "log ratio, stopped")):
            ratio = logs[measure][:, place] - logs[measure][:, erm]
            findings.add("scaling", task, label, name, ratio.mean(0).tolist())
            if task.startswith("redundant") and measure == "risk":
                few = [at for at, K in enumerate(domains) if cues >= K]
                many = [at for at, K in enumerate(domains) if cues < K]
                for part, places in (("K <= q", few), ("K > q", many)):
                    if places:
                        findings.add("scaling", task, label, f"{name}, {part}", ratio[places].mean(0).tolist())
        if label.startswith("IGA"):
            gap = risks["risk"][:, erm] - risks["risk"][:, place]
            findings.add("scaling", task, label, "gap slope", fitted_slope(domains, gap))
            control = (logs["risk"][:, place] - logs["risk"][:, shuffled]).mean(0)
            findings.add("scaling", task, label, "log ratio to shuffled", control.tolist())


def _scaled(rates: Float[Tensor, "A R"], optimizer: Optimizer, problem: Problem) -> Float[Tensor, "A R #S"]:
    """Learning rates for each seed: SGD's in units of the inverse curvature, AdamW's as they are."""
    if optimizer == "sgd":
        return rates[..., None] / problem.largest_curvature()
    return rates[..., None]
