"""What a mask does over time: speed and fixed points, optimizers, weight decay, and the choice among many minima."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.lab.bound.closed import decayed_share, erm_limit, erm_mean_risk, learned_share, redundant_limit
from isograd.lab.bound.problems import INVARIANT, Problem, draw_problem
from isograd.lab.bound.rules import ERM, ORACLE, Rule
from isograd.lab.bound.scaling import fitted_slope
from isograd.lab.bound.training import Optimizer, Setup, simulate, train_weights
from isograd.lab.records import Findings, Tick

__all__ = ["DECAYS", "FLOW_TAUS", "SPEED_TAUS", "decay", "flow", "limits", "minima", "speed"]

K: Final = 8
FLOW_TAUS: Final = (1.0, 3.0, 5.0)
SPEED_TAUS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0)
DECAYS: Final = (0.0, 0.001, 0.01)
_FLOW_RATE: Final = 0.3
_AND: Final = Rule("AND-mask", "and")


def _iga(*taus: float) -> list[Rule]:
    return [Rule(f"IGA, tau {tau:g}", "iga", tau) for tau in taus]


def _points(last: int, count: int = 40) -> tuple[int, ...]:
    """0 and steps up to the last, evenly on a log scale."""
    return tuple(sorted({0, *(round(last ** (place / count)) for place in range(count + 1))}))


def _ratio_and_speed(problem: Problem) -> tuple[Float[Tensor, "S q"], Float[Tensor, "S q"]]:
    cues = problem.targets[..., INVARIANT:]
    ratio = cues.mean(0).square() / cues.var(0, unbiased=False)
    return ratio, problem.curvature[INVARIANT:].expand_as(ratio)


def flow(seeds: Sequence[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Add experiment ``flow``: the risk over steps at one rate for all (additive, exact, K = 8), SGD and AdamW.

    Lines ``risk``; with SGD also ``formula``, from :func:`isograd.lab.bound.closed.learned_share`. Records at the end:
    ``ratio`` of the risk to ERM's; ``formula error``, the largest difference of a cue weight to the formula at any
    point, as a share of its final value; ``invariant difference``, the largest difference of an invariant weight to
    ERM's at any point.
    """
    problem = draw_problem("additive", "exact", K, seeds)
    rules = [ERM, *_iga(*FLOW_TAUS), _AND]
    rates: dict[Optimizer, float] = {"sgd": _FLOW_RATE, "adamw": 0.03}
    for optimizer, rate in rates.items():
        task = f"additive, exact, {optimizer}"
        # AdamW is there long before.
        points = _points(steps if optimizer == "sgd" else max(steps // 5, 2))
        weights = simulate(problem, rules, rate, seeds, Setup(optimizer, points))
        risk = problem.risk(weights)
        for place, rule in enumerate(rules):
            findings.line("flow", task, rule.label, "risk", points, risk[:, place].T.tolist())
            ratio = risk[-1, place] / risk[-1, 0]
            findings.add("flow", task, rule.label, "ratio", ratio.tolist())
            apart = (weights[:, place] - weights[:, 0])[..., :INVARIANT].abs().amax((0, -1))
            findings.add("flow", task, rule.label, "invariant difference", apart.tolist())
            if optimizer == "sgd" and rule.kind != "and":
                _formula(problem, weights[:, place], points, rule, task, findings)
        tick()


def _formula(
    problem: Problem,
    weights: Float[Tensor, "P S d"],
    points: Sequence[int],
    rule: Rule,
    task: str,
    findings: Findings,
) -> None:
    ratio, pace = _ratio_and_speed(problem)
    mean = erm_limit(problem)[:, INVARIANT:]
    told = torch.stack([learned_share(ratio, pace, _FLOW_RATE * point, rule.tau) for point in points])
    error = (weights[..., INVARIANT:] / mean - told).abs().amax((0, -1))
    findings.add("flow", task, rule.label, "formula error", error.tolist())
    # The invariant coordinates have no variance: those of ERM's flow.
    left = torch.exp(-_FLOW_RATE * torch.tensor(points)[:, None, None] * problem.curvature[:INVARIANT])
    start = problem.targets[0, :, :INVARIANT]
    risk = problem.risk(torch.cat([(1 - left) * start, told * mean], -1))
    findings.line("flow", task, rule.label, "formula", points, risk.T.tolist())


def decay(seeds: Sequence[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Add experiment ``decay``: does decoupled weight decay, which is not masked, let the mask move the fixed point?

    Additive, exact, K = 8, SGD at rate 1 and AdamW at rate 0.01 for ``steps`` steps from zero; ``at`` is the decay.
    ``risk``; ``cue risk``, the part due to the cues; for SGD ``cue risk, formula``, where mask and decay balance.
    """
    problem = draw_problem("additive", "exact", K, seeds)
    rules = [ERM, *_iga(1.0, 3.0, 10.0)]
    rates: dict[Optimizer, float] = {"sgd": 1.0, "adamw": 0.01}
    ratio, pace = _ratio_and_speed(problem)
    mean = erm_limit(problem)[:, INVARIANT:]
    for optimizer, rate in rates.items():
        for amount in DECAYS:
            weights = simulate(problem, rules, rate, seeds, Setup(optimizer, (steps,), decay=amount))[0]
            for place, rule in enumerate(rules):
                found = {"risk": problem.risk(weights[place]), "cue risk": problem.cue_norm(weights[place]) ** 2 / 2}
                if optimizer == "sgd" and amount:
                    balanced = decayed_share(ratio, pace, amount, rule.tau) * mean
                    found["cue risk, formula"] = (pace * balanced.square()).sum(-1) / 2
                for measure, values in found.items():
                    findings.add("decay", optimizer, rule.label, measure, values.tolist(), at=amount)
            tick()


def speed(seeds: Sequence[int], findings: Findings, tick: Tick) -> None:
    """Add experiment ``speed``: how far the cues have moved after 100 steps, over how far ERM's have; ``at`` is tau.

    Additive, exact, K = 8, no decay. Two masks: ``constant``, exp(-tau) on every cue and 1 elsewhere, and ``IGA``;
    three optimizers, see :class:`isograd.lab.bound.training.Setup`.
    """
    problem = draw_problem("additive", "exact", K, seeds)
    rates: dict[Optimizer, float] = {"sgd": 0.01, "adamw": 0.001, "adamw raw": 0.001}
    rules = [Rule("constant", "constant", tau) for tau in SPEED_TAUS] + [Rule("IGA", "iga", tau) for tau in SPEED_TAUS]
    for optimizer, rate in rates.items():
        moved = simulate(problem, rules, rate, seeds, Setup(optimizer, (100,)))[0, ..., INVARIANT:].abs().sum(-1)
        for place, rule in enumerate(rules):
            findings.add("speed", optimizer, rule.label, "share", (moved[place] / moved[0]).tolist(), at=rule.tau)
        tick()


def minima(cases: Sequence[str], domains: Sequence[int], seeds: Sequence[int], findings: Findings, tick: Tick) -> None:
    """Add experiment ``minimum``: the additive problem at the minimum of the mean loss, without training.

    That is where ERM ends, and IGA with any tau. ``at`` is K: ``risk``, ``worst`` and ``absolute``, see
    :class:`isograd.lab.bound.problems.Problem`, and the slope of each; ``risk, formula`` is the expectation over draws.
    """
    for case in cases:
        found: dict[str, list[Tensor]] = {}
        for number in domains:
            problem = draw_problem("additive", case, number, seeds)
            weights = erm_limit(problem)
            values = {
                "risk": problem.risk(weights),
                "worst": problem.worst_risk(weights),
                "absolute": problem.absolute_risk(weights),
            }
            for measure, value in values.items():
                findings.add("minimum", case, ERM.label, measure, value.tolist(), at=number)
                found.setdefault(measure, []).append(value)
            findings.add("minimum", case, ERM.label, "risk, formula", [erm_mean_risk(problem)], at=number)
        for measure, rows in found.items():
            findings.add("minimum", case, ERM.label, f"{measure} slope", fitted_slope(domains, torch.stack(rows)))
    tick()


def limits(seeds: Sequence[int], domains: Sequence[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Add experiment ``limit``: which of many minima is reached (redundant, 32 cues), SGD and AdamW; ``at`` is K.

    Records ``risk`` after ``steps`` steps, ``training loss``; for SGD ``risk, formula``: the shortest exact solution,
    for IGA in the metric of a constant mask exp(-tau) on cues; ``log ratio`` to ERM, its mean over K (no ``at``).
    """
    rules = [ERM, *_iga(1.0, 3.0), _AND, ORACLE]
    rates: dict[Optimizer, float] = {"sgd": 0.5, "adamw": 0.003}
    for optimizer, rate in rates.items():
        logs = []
        for number in domains:
            problem = draw_problem("redundant", "few", number, seeds)
            unit = rate / problem.largest_curvature() if optimizer == "sgd" else torch.full((len(seeds),), rate)
            chosen = unit.to(torch.float64).expand(len(rules), 1, -1)
            weights = train_weights(problem, rules, chosen, seeds, Setup(optimizer, (steps,)))[0, :, 0]
            risk = problem.risk(weights)
            residual = (problem.targets[:, None] * weights).sum(-1) - 1
            loss = residual.square().mean(0) / 2
            logs.append(risk.clamp(min=1e-12).log())
            for place, rule in enumerate(rules):
                findings.add("limit", optimizer, rule.label, "risk", risk[place].tolist(), at=number)
                findings.add("limit", optimizer, rule.label, "training loss", loss[place].tolist(), at=number)
                if optimizer == "sgd" and rule.kind in ("mean", "iga"):
                    told = problem.risk(redundant_limit(problem, math.exp(-rule.tau)))
                    findings.add("limit", optimizer, rule.label, "risk, formula", told.tolist(), at=number)
            tick()
        for place, rule in enumerate(rules[1:], 1):
            ratio = torch.stack([each[place] - each[0] for each in logs]).mean(0)
            findings.add("limit", optimizer, rule.label, "log ratio", ratio.tolist())
