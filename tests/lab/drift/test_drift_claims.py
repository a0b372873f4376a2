"""The drift formula and the disputed cases, by value."""

from __future__ import annotations

import math

import pytest
import torch

from isograd.lab.drift.exact import GROUP, TINY, all_groups, moments
from isograd.lab.drift.local import disputed, drift_formula, formula_and_measured
from isograd.lab.drift.page import verdict
from isograd.lab.drift.rules import LADDER, MECHANISMS
from isograd.lab.drift.tasks import table_policy
from isograd.lab.records import Findings, Record
from isograd.lab.text import cell
from isograd.reinforce.weights import TokenWeights


def value(findings: Findings, **which: str) -> float:
    (record,) = findings.find("disputed", **which)
    return record.mean


def test_the_error_of_the_formula_is_the_third_cumulant_over_six() -> None:
    policy = table_policy((1.0, 0.0, 0.0))
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    g = torch.tensor([0.4, -0.1, -0.3], dtype=torch.float64)
    centred = g - (p * g).sum()
    second, third = (p * centred**2).sum().item(), (p * centred**3).sum().item()
    etas = (0.02, 0.01)
    told, measured = formula_and_measured(policy, p.log()[None], g[None], etas)
    assert told == pytest.approx([0.5 * eta**2 * second for eta in etas])
    errors = [real - formula for real, formula in zip(measured, told, strict=True)]
    assert errors[1] / etas[1] ** 3 == pytest.approx(third / 6, rel=0.02)
    # Half the step, an eighth of the error.
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.02)


def test_order_and_reach_of_the_formula() -> None:
    findings = Findings()
    drift_formula([0, 1, 2], findings, lambda: None)
    for case in ("one context", "whole policy"):
        (order,) = findings.find("formula", task=case, measure="order")
        assert order.n == 3
        assert order.mean == pytest.approx(3, abs=0.25)
    ratio = next(line for line in findings.lines if line.task == "one context")
    assert ratio.mean[0] == pytest.approx(1, abs=1e-2)
    assert abs(ratio.mean[-1] - 1) > 0.2


def test_disputed_cases_by_value() -> None:
    findings = Findings()
    disputed([0, 1, 2], findings, lambda: None)
    softmax = "softmax (.6, .3, .1)"
    # p_k (R_k - E R) = .6 * .1, .3 * .1, -.1 * .9.
    assert value(findings, task=softmax, arm="expected gradient", measure="odds") == pytest.approx(0.03)
    assert value(findings, task=softmax, arm="natural gradient", measure="odds") == pytest.approx(0, abs=1e-12)
    # Equal coefficients that sum to zero leave the odds; the same without the sum do not: -(p1 - p2) * 2.
    assert value(findings, task=softmax, arm="coefficients (1, 1, -2)", measure="odds") == pytest.approx(0, abs=1e-12)
    assert value(findings, task=softmax, arm="coefficients (1, 1, 0)", measure="odds") == pytest.approx(-0.6)
    assert value(findings, task=softmax, arm="coefficients (1, 3, -4)", measure="odds") == pytest.approx(-2)
    # Odds kept, the gap between the probabilities grows with both: (p1 - p2) (1 - (p1 + p2 - 2 p3)).
    gap = value(findings, task=softmax, arm="coefficients (1, 1, -2)", measure="gap")
    assert gap == pytest.approx(0.3 * (1 - (0.9 - 0.2)))
    for weights in ("weights (1, 3, 2)", "their minimum"):
        assert value(findings, arm=weights, measure="residual") == 0
    # At a ratio of 1.3 asymmetric clipping keeps the negative completion alone, symmetric clipping none.
    at_ratio = {r.arm: r.mean for r in findings.find("disputed", task="a shared token at ratio 1.3")}
    assert at_ratio["asymmetric clipping alone"] == pytest.approx(1)
    assert math.isnan(at_ratio["symmetric clipping alone"])
    assert at_ratio["token ratio alone"] == pytest.approx(0, abs=1e-12)
    assert value(findings, task="bigram, equal coefficients", measure="odds") > 0.01
    expected, natural = (line for line in findings.lines if line.measure == "flow")
    assert expected.mean[-1] > math.log(2) + 0.1
    assert natural.mean[-1] == pytest.approx(math.log(2))


def test_on_policy_no_rule_moves_the_template_in_expectation_though_every_one_does_at_random() -> None:
    groups = all_groups(TINY.policy.enumerate(), GROUP)
    old = TINY.start(0)
    for label, rule in LADDER.items():
        mean, variance = moments(TINY, rule, groups, old, old)
        assert mean[TINY.template].abs().max().item() <= 1e-14, label
        assert variance[TINY.template].sum().item() > 1e-4 * variance.sum().item(), label
        assert mean[~TINY.template].abs().max().item() > 1e-3, label


def test_off_policy_asymmetric_clipping_alone_moves_the_template_in_expectation() -> None:
    groups = all_groups(TINY.policy.enumerate(), GROUP)
    old = TINY.start(0)
    # The second phrase becomes likelier by more than the range allows.
    new = old + torch.tensor([-0.5, 0.5, 0.2], dtype=torch.float64)
    found = {
        label: moments(TINY, rule, groups, old, new)[0][TINY.template].abs().max().item()
        for label, rule in MECHANISMS.items()
    }
    assert found.pop("asymmetric clipping alone") > 1e-2
    # The ratio of the whole sequence holds that of the token itself: a little.
    assert 1e-5 < found.pop("sequence coupling alone") < 1e-2
    assert max(found.values()) <= 1e-14


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_moments_are_those_of_the_groups_counted_one_by_one(shift: float) -> None:
    outputs = TINY.policy.enumerate()
    pairs = all_groups(outputs, 2)
    old, new = TINY.start(1), TINY.start(1) + shift * TINY.start(2)
    then, probs = TINY.policy.log_probs(old).exp(), TINY.policy.log_probs(new).exp()
    chances = torch.where(outputs.mask, then[outputs.rows, outputs.tokens], 1).prod(-1)
    expected = torch.zeros_like(old)
    for i, first in enumerate(chances):
        for j, second in enumerate(chances):
            # Of two, the better has advantage 1 and the other -1.
            sign = torch.sign(outputs.rewards[i] - outputs.rewards[j])
            for k, advantage in ((i, sign), (j, -sign)):
                length = int(outputs.mask[k].sum())
                for row, token in zip(outputs.rows[k, :length], outputs.tokens[k, :length], strict=True):
                    push = -probs[row]
                    push[token] += 1
                    ratio = probs[row, token] / then[row, token]
                    expected[row] += first * second * advantage * ratio * push / (2 * length)
    mean, _ = moments(TINY, TokenWeights(clip="none"), pairs, old, new)
    torch.testing.assert_close(mean, expected)


def test_verdicts_need_an_interval_without_zero() -> None:
    def difference(mean: float, low: float, high: float) -> Record:
        return Record("e", "t", "a", "m", None, mean, low, high, 5)

    assert verdict(difference(-2, -3, -1), "lower") == "holds"
    assert verdict(difference(-2, -3, -1), "higher") == "refuted"
    assert verdict(difference(2, 1, 3), "higher") == "holds"
    assert verdict(difference(2, -1, 3), "higher") == "open"
    assert verdict(difference(0, 0, 0), "higher") == "equal"
    assert verdict(difference(2, math.nan, math.nan), "higher") == "open"
    assert cell(difference(-2, -3, -1)) == "-2 [-3, -1]"
    assert cell(None) == "-"
