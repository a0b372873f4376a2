"""Closed forms against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isograd.lab.bound.closed import decayed_share, erm_limit, erm_mean_risk, learned_share, redundant_limit
from isograd.lab.bound.problems import CASES, INVARIANT, Problem, draw_problem
from isograd.lab.bound.rules import ERM, Rule
from isograd.lab.bound.training import Setup, simulate, train_weights

SEEDS = [0, 1, 2]
IGA = [Rule(f"IGA {tau}", "iga", tau) for tau in (1.0, 3.0)]


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if not case.noise])
def test_descent_ends_at_the_weighted_mean_of_the_targets(case: str) -> None:
    problem = draw_problem("additive", case, 4, SEEDS)
    end = simulate(problem, [ERM], 1.0, SEEDS, Setup("sgd", (700,)))[0, 0]
    torch.testing.assert_close(end, erm_limit(problem), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("domains", [2, 16])
def test_mean_risk_of_erm_over_many_draws(domains: int) -> None:
    problem = draw_problem("additive", "exact", domains, range(800))
    risks = problem.risk(erm_limit(problem))
    error = risks.std().item() / math.sqrt(len(risks))
    assert risks.mean().item() == pytest.approx(erm_mean_risk(problem), abs=4 * error)
    assert error < 0.03 * erm_mean_risk(problem)


def _ratio_and_speed(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    cues = problem.targets[..., INVARIANT:]
    ratio = cues.mean(0) ** 2 / cues.var(0, unbiased=False)
    return ratio, problem.curvature[INVARIANT:].expand_as(ratio)


def test_masked_descent_follows_the_flow() -> None:
    problem = draw_problem("additive", "exact", 4, SEEDS)
    rate, steps = 0.01, 400
    found = simulate(problem, [ERM, *IGA], rate, SEEDS, Setup("sgd", (steps,)))[0]
    ratio, pace = _ratio_and_speed(problem)
    shares = []
    for place, tau in enumerate((0.0, 1.0, 3.0)):
        told = learned_share(ratio, pace, rate * steps, tau)
        share = found[place, :, INVARIANT:] / erm_limit(problem)[:, INVARIANT:]
        torch.testing.assert_close(share, told, rtol=0.01, atol=1e-4)
        shares.append(share)
    torch.testing.assert_close(learned_share(ratio, pace, 4.0, 0.0), 1 - torch.exp(-4 * pace), rtol=1e-9, atol=0)
    # The mask is between exp(-tau) and exp(-tau / (1 + x0)).
    for share, tau in zip(shares, (0.0, 1.0, 3.0), strict=True):
        assert (share >= 1 - torch.exp(-4 * pace * math.exp(-tau)) - 1e-3).all()
        assert (share <= 1 - torch.exp(-4 * pace * torch.exp(-tau / (1 + ratio))) + 1e-3).all()


def test_mask_and_weight_decay_balance() -> None:
    problem = draw_problem("additive", "exact", 4, SEEDS)
    found = simulate(problem, [ERM, *IGA], 1.0, SEEDS, Setup("sgd", (1500,), decay=0.02))[0]
    ratio, pace = _ratio_and_speed(problem)
    for place, tau in enumerate((0.0, 1.0, 3.0)):
        share = found[place, :, INVARIANT:] / erm_limit(problem)[:, INVARIANT:]
        torch.testing.assert_close(share, decayed_share(ratio, pace, 0.02, tau), rtol=0, atol=2e-5)
    torch.testing.assert_close(decayed_share(ratio, pace, 0.02, 0.0), pace / (pace + 0.02), rtol=0, atol=2e-5)


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_of_many_minima_the_shortest_in_the_metric_of_a_constant_mask(tau: float) -> None:
    problem = draw_problem("redundant", "few", 4, SEEDS)
    rate = (0.5 / problem.largest_curvature())[None, None]
    rule = Rule("constant", "constant", tau)
    end = train_weights(problem, [rule], rate, SEEDS, Setup("sgd", (1500,)))[0, 0, 0]
    torch.testing.assert_close(end, redundant_limit(problem, math.exp(-tau)), rtol=0, atol=1e-8)
    # In closed form for an unmasked start from zero: see docs/theory/bound.md.
    cues = problem.targets[..., INVARIANT:].transpose(0, 1)
    ones = torch.ones(4, 1, dtype=torch.float64)
    h = (ones.mT @ torch.linalg.inv(cues @ cues.mT) @ ones).flatten()
    told = (1 + h) / (1 + h * INVARIANT * math.exp(tau)) ** 2 / 2
    torch.testing.assert_close(problem.risk(end), told, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["additive", "redundant"])
def test_risk_is_the_mean_loss_on_new_domains_less_the_best(kind: str) -> None:
    problem = draw_problem(kind, "exact", 2, [5])  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    weights = torch.from_numpy(random.normal(size=(1, 16)))
    cues = torch.from_numpy(random.normal(size=(400_000, 8)))
    if kind == "additive":
        pulls = problem.curvature[8:] * ((weights[:, 8:] - cues) ** 2 - cues**2)
        losses = problem.invariant_risk(weights) + pulls.sum(-1) / 2
    else:
        losses = (weights[:, :8].sum(-1) - 1 + (weights[:, 8:] * cues).sum(-1)) ** 2 / 2
    assert problem.risk(weights).item() == pytest.approx(losses.mean().item(), rel=0.02)


def test_worst_and_absolute_risk() -> None:
    problem = draw_problem("additive", "exact", 2, [5])
    random = np.random.default_rng(1)
    weights = torch.from_numpy(random.normal(size=(1, 16)))
    pace = problem.curvature[8:]

    def excess(cue: torch.Tensor) -> torch.Tensor:
        change = (pace * ((weights[:, 8:] - cue) ** 2 - cue**2)).sum(-1) / 2
        return problem.invariant_risk(weights) + change

    length = problem.cue_norm(weights)
    assert excess(-weights[:, 8:] / length).item() == pytest.approx(problem.worst_risk(weights).item())
    others = torch.from_numpy(random.normal(size=(2000, 8)))
    others = others / (pace * others**2).sum(-1, keepdim=True).sqrt()
    assert (excess(others) <= problem.worst_risk(weights) + 1e-12).all()
    inputs = torch.from_numpy(random.normal(size=(400_000, 16))) * problem.curvature.sqrt()
    best = torch.cat([problem.targets[0, :, :8], torch.zeros(1, 8, dtype=torch.float64)], -1)
    seen = (inputs * (weights - best)).sum(-1).abs().mean().item()
    assert problem.absolute_risk(weights).item() == pytest.approx(seen, rel=0.01)


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_masked_descent_converges_no_slower_than_its_bound(tau: float) -> None:
    problem = draw_problem("additive", "exact", 4, SEEDS)
    points, rate = (0, 1, 5, 50, 400), 0.5
    weights = simulate(problem, [Rule("IGA", "iga", tau)], rate, SEEDS, Setup("sgd", points))[:, 0]
    gaps = (problem.curvature * (weights - erm_limit(problem)).square()).sum(-1) / 2
    slowest = problem.curvature.min().item()
    for point, gap in zip(points, gaps, strict=True):
        assert (gap <= (1 - rate * slowest * math.exp(-tau)) ** point * gaps[0] + 1e-12).all()
    assert (gaps[-1] < gaps[0]).all()


def test_and_mask_moves_where_signs_agree_as_far_as_the_nearest_cue() -> None:
    seeds = list(range(40))
    problem = draw_problem("additive", "exact", 3, seeds)
    end = simulate(problem, [Rule("AND", "and")], 0.02, seeds, Setup("sgd", (600,)))[0, 0, :, INVARIANT]
    cues = problem.targets[..., INVARIANT]
    agree = cues.sign().sum(0).abs() == 3
    assert (end[~agree] == 0).all()
    nearest = cues.abs().min(0).values * cues[0].sign()
    # A step of 0.02 may pass it a little.
    torch.testing.assert_close(end[agree], nearest[agree], rtol=0, atol=0.05)
    assert 2 <= agree.sum() <= 20


def test_chance_agreement_at_the_start_is_beta_distributed() -> None:
    domains = 4
    cues = draw_problem("additive", "exact", domains, range(1500)).targets[..., INVARIANT:]
    V = 1 - cues.mean(0).square() / cues.square().mean(0)
    a, b = (domains - 1) / 2, 0.5
    assert V.mean().item() == pytest.approx(a / (a + b), abs=0.01)
    assert V.var().item() == pytest.approx(a * b / ((a + b) ** 2 * (a + b + 1)), rel=0.05)
