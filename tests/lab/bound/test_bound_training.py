"""Gradients, rules and optimizers of the batched runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.gradients import AndMask, Iga, LayerContext
from isograd.lab.bound.problems import CASES, INVARIANT, draw_problem
from isograd.lab.bound.rules import ERM, ORACLE, RULES, Rule, direction
from isograd.lab.bound.training import HIDDEN, Setup, simulate, train_weights

SEEDS = [0, 1]
MODELS = pytest.mark.parametrize("model", ["linear", "two-layer"])
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adamw raw"])


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.sampled_from([0.0, 0.3, 3.0, 10.0]))
def test_masks_are_those_of_the_library(seed: int, domains: int, tau: float) -> None:
    grads = normal(seed, domains, 3, 5)
    grads[:, :, 0] = grads[:1, :, 0].abs()
    cues = torch.zeros(5, dtype=torch.float64)
    mine = direction(Rule("", "iga", tau), grads, cues)
    torch.testing.assert_close(mine, Iga(tau=tau, svd="none").merge(grads), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(direction(Rule("", "and"), grads, cues), AndMask(tau=1, rescale=False).merge(grads))
    # By hand.
    mean = grads.mean(0)
    variance = (grads - mean).square().mean(0) / grads.square().mean(0)
    torch.testing.assert_close(mine, torch.exp(-tau * variance) * mean, rtol=1e-9, atol=1e-12)


def test_a_shuffled_mask_has_the_values_of_the_mask() -> None:
    grads, tau = normal(0, 4, 6, 7), 2.0
    order = torch.stack([torch.randperm(7, generator=torch.Generator().manual_seed(row)) for row in range(6)])
    cues = torch.zeros(7, dtype=torch.float64)
    plain = direction(Rule("", "iga", tau), grads, cues) / grads.mean(0)
    mixed = direction(Rule("", "shuffled", tau), grads, cues, order) / grads.mean(0)
    torch.testing.assert_close(mixed.sort(-1).values, plain.sort(-1).values)
    assert not torch.allclose(mixed, plain)


def test_with_one_output_the_rotation_invariant_mask_only_rescales() -> None:
    grads = normal(1, 5, 1, 6)
    merged = Iga(tau=2.0, svd="none", basis="input", damping=1e-12).merge_layer(grads, LayerContext(rank=1))
    factor = merged / grads.mean(0)
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor), rtol=1e-6, atol=0)
    T = torch.einsum("kij,kil->jl", grads, grads) / 5
    share = (grads.mean(0) @ torch.linalg.pinv(T) @ grads.mean(0).mT).item()
    assert factor[0, 0].item() == pytest.approx(math.exp(-2.0 * (1 - share)), rel=1e-6)


@MODELS
@OPTIMIZERS
def test_iga_at_tau_zero_is_erm_bit_for_bit(model: str, optimizer: str) -> None:
    problem = draw_problem("additive", "noisy", 4, SEEDS)
    setup = Setup(optimizer, (1, 7), model, 0.01)  # type: ignore[arg-type]
    weights = simulate(problem, [ERM, Rule("IGA", "iga", 0.0), Rule("IGA", "iga", 1.0)], 0.05, SEEDS, setup)
    assert torch.equal(weights[:, 0], weights[:, 1])
    assert not torch.equal(weights[:, 0], weights[:, 2])


@MODELS
@pytest.mark.parametrize("kind", ["additive", "redundant"])
@pytest.mark.parametrize("case", ["exact", "rotated", "unequal", "shared"])
def test_a_step_of_erm_is_the_gradient_of_the_mean_loss(model: str, kind: str, case: str) -> None:
    problem = draw_problem(kind, case, 3, SEEDS)  # type: ignore[arg-type]
    d = INVARIANT + CASES[case].cues

    def loss(true: Tensor) -> Tensor:
        if kind == "additive":
            each = (problem.curvature * (true - problem.targets).square()).sum(-1) / 2
        else:
            each = ((problem.targets * true).sum(-1) - 1).square() / 2
        return (problem.size * each).mean(0).sum()

    def weights_of(theta: Tensor) -> Tensor:
        if model == "linear":
            return problem.true(theta)
        head, body = theta[:, :HIDDEN], theta[:, HIDDEN:].unflatten(-1, (HIDDEN, d))
        return problem.true(torch.einsum("sh,shd->sd", head, body))

    setup = Setup("sgd", (0, 1), model)  # type: ignore[arg-type]
    before, after = simulate(problem, [ERM], 0.01, SEEDS, setup)[:, 0]
    # The same start, from the module itself; the rest by automatic differentiation.
    from isograd.lab.bound.training import _start

    theta = _start(problem, setup.model, torch.ones(1, 1, 1, d, dtype=torch.float64), 1, SEEDS)[0, 0]
    theta = theta.clone().requires_grad_()
    torch.testing.assert_close(weights_of(theta), before)
    (gradient,) = torch.autograd.grad(loss(weights_of(theta)), theta)
    torch.testing.assert_close(weights_of(theta - 0.01 * gradient), after)


@MODELS
def test_the_order_of_domains_plays_no_role(model: str) -> None:
    problem = draw_problem("redundant", "unequal", 5, SEEDS)
    order = [3, 0, 4, 1, 2]
    mixed = replace(problem, targets=problem.targets[order], size=problem.size[order])
    setup = Setup("adamw", (6,), model)  # type: ignore[arg-type]
    mine, theirs = (simulate(each, RULES, 0.01, SEEDS, setup) for each in (problem, mixed))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


@MODELS
def test_a_run_does_not_depend_on_its_neighbors(model: str) -> None:
    setup = Setup("sgd", (5,), model)  # type: ignore[arg-type]
    rates = torch.tensor([0.03, 0.1], dtype=torch.float64).expand(len(RULES), 2)[..., None]
    together = train_weights(draw_problem("additive", "noisy", 4, [3, 9]), RULES, rates, [3, 9], setup)
    alone = train_weights(draw_problem("additive", "noisy", 4, [9]), RULES[3:5], rates[3:5, 1:], [9], setup)
    torch.testing.assert_close(together[:, 3:5, 1:, 1:], alone, rtol=1e-9, atol=1e-12)


def test_domains_are_nested_and_cases_share_their_draws() -> None:
    small, large = (draw_problem("additive", "exact", K, SEEDS) for K in (2, 8))
    assert torch.equal(small.targets, large.targets[:2])
    shared = draw_problem("additive", "shared", 8, SEEDS)
    assert torch.equal(shared.targets[..., INVARIANT + 1 :: 2], large.targets[..., INVARIANT + 1 :: 2])
    assert (shared.targets[..., INVARIANT::2] == 1).all()
    unequal = draw_problem("additive", "unequal", 8, SEEDS)
    torch.testing.assert_close(unequal.size.mean(0), torch.ones(2, dtype=torch.float64))
    assert unequal.size.std(0).min().item() > 0.2


@MODELS
def test_the_oracle_learns_no_cue(model: str) -> None:
    problem = draw_problem("additive", "rotated", 4, SEEDS)
    weights = simulate(problem, [ORACLE, ERM], 0.3, SEEDS, Setup("sgd", (0, 50), model))  # type: ignore[arg-type]
    assert weights[:, 0, :, INVARIANT:].abs().max().item() <= 1e-14
    assert weights[-1, 1, :, INVARIANT:].abs().max().item() > 0.01
    assert problem.invariant_risk(weights[-1, 0]).max() < problem.invariant_risk(weights[0, 0]).min()


def test_adamw_is_that_of_torch() -> None:
    problem = draw_problem("additive", "exact", 3, SEEDS)
    mine = simulate(problem, [ERM], 0.05, SEEDS, Setup("adamw", (20,), decay=0.1))[0, 0]
    theirs = torch.zeros_like(mine, requires_grad=True)
    optimizer = torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.1)
    for _ in range(20):
        theirs.grad = (problem.curvature * (theirs.detach() - problem.targets)).mean(0)
        optimizer.step()
    torch.testing.assert_close(mine, theirs.detach())


def test_adam_undoes_a_constant_mask_unless_its_second_moment_is_from_before_the_mask() -> None:
    problem = draw_problem("additive", "exact", 4, SEEDS)
    rules = [ERM, Rule("constant", "constant", 3.0)]

    def moved(optimizer: str) -> float:
        weights = simulate(problem, rules, 0.001, SEEDS, Setup(optimizer, (30,)))[0, ..., INVARIANT:]  # type: ignore[arg-type]
        return (weights[1].abs().sum() / weights[0].abs().sum()).item()

    assert moved("adamw") == pytest.approx(1, abs=1e-4)
    assert moved("adamw raw") == pytest.approx(math.exp(-3), rel=0.05)
    assert moved("sgd") == pytest.approx(math.exp(-3), rel=0.05)


@pytest.mark.parametrize("tau", [1.0, 10.0])
def test_where_domains_agree_iga_and_erm_learn_the_same_numbers(tau: float) -> None:
    problem = draw_problem("additive", "exact", 8, SEEDS)
    weights = simulate(problem, [ERM, Rule("IGA", "iga", tau)], 0.3, SEEDS, Setup("sgd", (1, 10, 40)))
    assert torch.equal(weights[:, 0, :, :INVARIANT], weights[:, 1, :, :INVARIANT])
    assert not torch.equal(weights[:, 0], weights[:, 1])
