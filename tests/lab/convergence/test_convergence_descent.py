"""The simulated descents: exact gradients, known rates, runs that do not touch each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isograd.common.seeding import derive_seed
from isograd.gradients import chain_rule
from isograd.lab.convergence.descent import checkpoints, descend, linear_rate, power_rate
from isograd.lab.convergence.factors import FACTOR_ARMS, descend_factors
from isograd.lab.convergence.problems import Problem, least_squares, tanh_net
from isograd.lab.convergence.rates import EXACT, NOISY
from isograd.lab.convergence.rules import Arm

PROBLEMS = {
    "least squares": least_squares([0, 1], "different"),
    "shared": least_squares([0, 1], "shared"),
    "net": tanh_net([0, 1], "different"),
}
EACH = pytest.mark.parametrize("problem", list(PROBLEMS.values()), ids=list(PROBLEMS))


@EACH
def test_gradients_are_those_of_the_loss(problem: Problem) -> None:
    W = torch.stack([problem.start, 0.3 * problem.start], 1).requires_grad_()
    (expected,) = torch.autograd.grad(problem.losses(W).sum(), W)
    torch.testing.assert_close(problem.gradients(W.detach()).mean(0), expected)


@EACH
def test_mini_batches_of_every_row_are_the_whole(problem: Problem) -> None:
    W = problem.start[:, None]
    K, S, N = problem.X.shape[:3]
    rows = torch.arange(N).expand(K, S, N)
    torch.testing.assert_close(problem.gradients(W, rows), problem.gradients(W))


@EACH
def test_no_curvature_exceeds_the_smoothness(problem: Problem) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        one, other = (
            problem.start[:, None]
            + torch.randn(*problem.start[:, None].shape, generator=generator, dtype=torch.float64)
            for _ in range(2)
        )
        change = (problem.gradients(one) - problem.gradients(other)).mean(0)
        lipschitz = change.flatten(1).norm(dim=1) / (one - other).flatten(1).norm(dim=1)
        assert (lipschitz <= problem.smoothness * (1 + 1e-9)).all()


def test_shared_minima_are_shared_and_different_ones_are_not() -> None:
    for name, shared in (("shared", True), ("least squares", False)):
        problem = PROBLEMS[name]
        C, R = problem._normal_equations
        best = torch.linalg.solve(C.mean(0), R.mean(0), left=False)[:, None]
        sizes = problem.gradients(best).flatten(2).norm(dim=-1)
        assert (sizes.max().item() < 1e-10) is shared
        one_row = torch.zeros(4, 2, 1, dtype=torch.long)
        assert problem.gradients(best, one_row).abs().max().item() > 0.1


def test_gradient_descent_has_the_known_linear_rate() -> None:
    problem = least_squares([0, 1, 2], "different")
    assert problem.convexity is not None
    curves = descend(problem, [Arm("SGD")], [0, 1, 2], 300)
    for seed, ratio in enumerate((problem.convexity / problem.smoothness).tolist()):
        rate = linear_rate(curves.steps, curves.gradient[seed, 0].tolist())
        assert rate == pytest.approx(-2 * math.log1p(-ratio), rel=0.02)


@EACH
def test_no_mask_ever_raises_the_loss_without_noise(problem: Problem) -> None:
    curves = descend(problem, EXACT, [0, 1], 80)
    assert (curves.loss.diff() <= 1e-12 * curves.loss[..., :1]).all()
    bounded = [place for place, arm in enumerate(EXACT) if arm.normalization == "mean_square"]
    least = torch.tensor([math.exp(-EXACT[place].tau) for place in bounded], dtype=torch.float64)
    assert (curves.mask[:, bounded] >= least[:, None] * (1 - 1e-12)).all()


def test_the_guaranteed_sum_of_squared_gradients_holds() -> None:
    problem = PROBLEMS["net"]
    tau, steps = 1.0, 60
    curves = descend(problem, [Arm("IGA", tau)], [0, 1], steps)
    bound = 2 * problem.smoothness * math.exp(tau) * curves.loss[:, 0, 0] / steps
    assert (curves.gradient[:, 0].amin(-1) <= bound).all()


def test_a_run_does_not_depend_on_its_neighbors() -> None:
    many = descend(least_squares([0, 7, 3], "different"), NOISY, [0, 7, 3], 12, batch=2, rate=0.5)
    for place in (1, 4, 6, 7, 8):
        one = descend(least_squares([7], "different"), [NOISY[place]], [7], 12, batch=2, rate=0.5)
        torch.testing.assert_close(many.gradient[1, place], one.gradient[0, 0], rtol=1e-9, atol=1e-12)


def test_rates_of_known_curves() -> None:
    steps = checkpoints(1000)
    assert steps[:3] == (0, 1, 2)
    assert steps[-1] == 1000
    assert power_rate(steps, [1.0, *(step**-0.5 for step in steps[1:])]) == pytest.approx(-0.5)
    assert linear_rate(steps, [0.9**step for step in steps]) == pytest.approx(-math.log(0.9))
    assert math.isnan(power_rate((0, 1), (1.0, 0.5)))


def test_factors_descend_and_a_weight_mask_or_a_truncation_stops_them_short() -> None:
    problem = least_squares([0], "different")
    labels = ("SGD", "weight mask, tau 1", "SVD, no mask", "factor mask, tau 1")
    arms = [next(each for each in FACTOR_ARMS if each.arm.label == label) for label in labels]
    steps, exact, own, losses = descend_factors(problem, arms, [0], 800)
    assert steps[-1] == 800
    torch.testing.assert_close(exact[:, 0], own[:, 0])
    assert exact[0, 0, -1].item() < 1e-4
    assert exact[0, 3, -1].item() < 1e-2
    for stopped in (1, 2):
        assert own[0, stopped, -1].item() < 1e-3 * exact[0, stopped, -1].item()
        assert exact[0, stopped, -1].item() > 0.05
        assert losses[0, stopped].item() > losses[0, 0].item()


def test_the_first_step_of_the_factors_is_the_chain_rule() -> None:
    problem = least_squares([0], "shared")
    _, exact, own, _ = descend_factors(problem, FACTOR_ARMS[:1], [0], 1)
    g = problem.gradients(torch.zeros_like(problem.start)[:, None]).mean(0)[0, 0]
    draw = np.random.default_rng(derive_seed("lab", "convergence", "factors", 0))
    A = torch.from_numpy(draw.normal(size=(2, 6))) / 6**0.5
    # B starts at 0, and so A has no gradient.
    dA, dB = chain_rule(g, A, torch.zeros(8, 2, dtype=torch.float64), 1.0)
    assert dA.abs().max().item() == 0
    assert exact[0, 0, 0].item() == pytest.approx(dB.square().sum().item())
    assert own[0, 0, 0].item() == pytest.approx(dB.square().sum().item())
