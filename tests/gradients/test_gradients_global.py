"""Methods that weigh whole gradients: properties, closed forms, and the problems they solve."""

from __future__ import annotations

import itertools
import math
import random as stdlib_random

import pytest
import torch
from gradient_cases import GLOBAL, Fixed, name, normal
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.gradients import CAGrad, GlobalMethod, Mgda, PCGrad, TorchJd
from isograd.gradients._simplex import minimize_on_simplex

domains = st.integers(1, 6)
seeds = st.integers(0, 999)


def weights(method: GlobalMethod, grads: Tensor, rng: stdlib_random.Random | None = None) -> Tensor:
    return method.weights(grads @ grads.mT, rng or stdlib_random.Random(0))


def direction(method: GlobalMethod, grads: Tensor, rng: stdlib_random.Random | None = None) -> Tensor:
    return weights(method, grads, rng) @ grads


def gradients(K: int, rank: int, seed: int) -> Tensor:
    """K vectors that span at most ``rank`` dimensions, of lengths that differ."""
    return normal(K, 1, seed=seed + 1).exp() * (normal(K, rank, seed=seed) @ normal(rank, 7, seed=seed + 2))


RELATIVE = [
    method
    for method in GLOBAL
    # Takes gradients whose squared lengths sum to less than 1e-4 for zero.
    if not (isinstance(method, TorchJd) and method.weighting == "UPGrad")
]


@pytest.mark.parametrize("method", GLOBAL, ids=name)
class TestEveryGlobalMethod:
    @settings(max_examples=10)
    @given(K=domains, seed=seeds)
    def test_equal_domains_give_their_gradient(self, method: GlobalMethod, K: int, seed: int) -> None:
        one = normal(7, seed=seed)
        found = weights(method, one.expand(K, 7))
        assert found.sum().item() == pytest.approx(1.0)
        torch.testing.assert_close(found @ one.expand(K, 7), one, rtol=1e-9, atol=1e-12)

    @settings(max_examples=10)
    @given(K=domains, rank=st.integers(1, 6), seed=seeds)
    def test_the_order_of_domains_does_not_matter(self, method: GlobalMethod, K: int, rank: int, seed: int) -> None:
        """Directions, not weights: those of dependent gradients are not unique. PCGrad visits in a given order."""
        grads = gradients(K, rank, seed)
        order = torch.randperm(K, generator=torch.Generator().manual_seed(seed)).tolist()
        straight = direction(method, grads, Fixed(order))
        mixed = direction(method, grads[order], Fixed(list(range(K))))
        torch.testing.assert_close(mixed, straight, rtol=1e-5, atol=1e-6 * float(grads.norm()))

    @settings(max_examples=10)
    @given(K=domains, seed=seeds)
    def test_the_gramian_is_left_as_it_is(self, method: GlobalMethod, K: int, seed: int) -> None:
        gramian = gradients(K, 4, seed) @ gradients(K, 4, seed).mT
        before = gramian.clone()
        found = method.weights(gramian, stdlib_random.Random(0))
        assert torch.equal(gramian, before)
        assert found.shape == (K,)
        assert found.dtype == torch.float64

    @pytest.mark.parametrize("zeros", [[0], [1, 2], [0, 1, 2]])
    def test_zero_gradients(self, method: GlobalMethod, zeros: list[int]) -> None:
        grads = normal(3, 7)
        grads[zeros] = 0.0
        found = direction(method, grads)
        assert found.isfinite().all()
        if len(zeros) == 3 or isinstance(method, Mgda):
            assert found.norm() == 0

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_gradient_that_is_no_number_stays_visible(self, method: GlobalMethod, bad: float) -> None:
        grads = normal(3, 7)
        grads[1, 2] = bad
        assert not direction(method, grads).isfinite().all()

    def test_the_same_seed_gives_the_same_weights(self, method: GlobalMethod) -> None:
        grads = normal(5, 3)
        first, second = (weights(method, grads, stdlib_random.Random(4)) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize("method", RELATIVE, ids=name)
@settings(max_examples=10)
@given(K=domains, seed=seeds, exponent=st.integers(-150, 150))
def test_the_direction_has_the_scale_of_the_gradients(method: GlobalMethod, K: int, seed: int, exponent: int) -> None:
    grads, scale = gradients(K, 7, seed), 2.0**exponent
    torch.testing.assert_close(weights(method, scale * grads), weights(method, grads), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", [method for method in GLOBAL if method not in RELATIVE], ids=name)
def test_the_methods_that_see_the_scale_do(method: GlobalMethod) -> None:
    """So that the list of exceptions above holds nothing that could be tested."""
    grads = normal(3, 7)
    assert grads.square().sum() > 1
    large, small = weights(method, 0.011 * grads / grads.norm()), weights(method, 0.009 * grads / grads.norm())
    torch.testing.assert_close(large, weights(method, grads), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(small, torch.full_like(small, 1 / 3))
    assert (large - small).abs().max() > 1e-2


class TestSimplex:
    @settings(max_examples=150)
    @given(
        K=st.integers(1, 7),
        rank=st.integers(0, 7),
        seed=seeds,
        size=st.sampled_from([1e-12, 1.0, 1e12]),
        linear=st.sampled_from([0.0, 1e-6, 1.0, 1e3]),
    )
    def test_the_conditions_of_optimality(self, K: int, rank: int, seed: int, size: float, linear: float) -> None:
        roots = normal(K, rank, seed=seed)
        if seed % 3 == 0:
            roots[-1] = roots[0]  # two domains with one gradient
        Q, b = size * roots @ roots.mT, size * linear * normal(K, seed=seed + 1)
        a = minimize_on_simplex(Q, b)
        assert (a >= 0).all()
        assert a.sum().item() == pytest.approx(1.0)
        slope = Q @ a + b
        scale = float(Q.abs().max()) + float(b.abs().max())
        # Necessary and sufficient for a convex problem: no coordinate is below those in use.
        assert (slope - (a @ slope) >= -1e-9 * scale).all()

    def test_values(self) -> None:
        zero = torch.zeros(2, dtype=torch.float64)
        # Lengths 1 and 2 at a right angle: the foot of the perpendicular has weights 4 : 1.
        found = minimize_on_simplex(torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)), zero)
        torch.testing.assert_close(found, torch.tensor([0.8, 0.2], dtype=torch.float64))
        assert minimize_on_simplex(torch.zeros(2, 2).double(), torch.tensor([3.0, 1.0]).double()).argmax() == 1
        assert minimize_on_simplex(torch.full((2, 2), math.nan).double(), zero).isnan().all()


class TestPCGrad:
    def test_two_gradients_that_conflict(self) -> None:
        grads = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
        # g1 - (g1'g2/|g2|^2) g2 = (1, 0) + (-1, 1)/2 = (0.5, 0.5); g2 - (g2'g1/|g1|^2) g1 = (0, 1).
        torch.testing.assert_close(direction(PCGrad(), grads), torch.tensor([0.25, 0.75], dtype=torch.float64))
        torch.testing.assert_close(weights(PCGrad(), grads), torch.tensor([1.0, 0.75], dtype=torch.float64))

    @settings(max_examples=30)
    @given(K=domains, rank=st.integers(1, 6), seed=seeds)
    def test_the_algorithm_on_vectors(self, K: int, rank: int, seed: int) -> None:
        grads, total = gradients(K, rank, seed), torch.zeros(7, dtype=torch.float64)
        ours, theirs = stdlib_random.Random(seed), stdlib_random.Random(seed)
        for i in range(K):
            own = grads[i].clone()
            others = [j for j in range(K) if j != i]
            theirs.shuffle(others)
            for j in others:
                if own @ grads[j] < -1e-12:
                    own -= (own @ grads[j]) / (grads[j] @ grads[j]) * grads[j]
            total += own / K
        found = direction(PCGrad(), grads, ours)
        torch.testing.assert_close(found, total, rtol=1e-7, atol=1e-8 * float(grads.norm()))

    def test_without_conflict_it_is_the_mean(self) -> None:
        grads = normal(4, 7).abs()
        torch.testing.assert_close(weights(PCGrad(), grads), torch.full((4,), 0.25, dtype=torch.float64))


class TestMgda:
    @settings(max_examples=30)
    @given(seed=seeds, rank=st.integers(1, 5))
    def test_two_gradients(self, seed: int, rank: int) -> None:
        one, two = grads = gradients(2, rank, seed)
        share = ((two - one) @ two / ((one - two) @ (one - two))).clamp(0, 1)  # Sener and Koltun, equation 4
        torch.testing.assert_close(
            direction(Mgda(), grads), share * one + (1 - share) * two, rtol=1e-6, atol=1e-6 * float(grads.norm())
        )

    @settings(max_examples=60)
    @given(K=domains, rank=st.integers(1, 6), seed=seeds)
    def test_it_descends_everywhere_or_stays(self, K: int, rank: int, seed: int) -> None:
        """``g_k' D >= ||D||^2`` for all k is what makes D the shortest vector of the hull."""
        grads = gradients(K, rank, seed)
        D = direction(Mgda(), grads)
        assert (grads @ D >= D @ D - 1e-8 * float(grads.square().sum())).all()
        assert D.norm() <= grads.norm(dim=1).min() * (1 + 1e-6) + 1e-6

    @pytest.mark.parametrize("K", [2, 3])
    def test_against_every_point_of_a_grid(self, K: int) -> None:
        for seed in range(5):
            grads = gradients(K, 3, seed)
            points = [p for p in itertools.product(range(41), repeat=K) if sum(p) == 40]
            best = (torch.tensor(points, dtype=torch.float64) / 40 @ grads).norm(dim=1).min()
            assert direction(Mgda(), grads).norm() <= best + 1e-9

    def test_by_length(self) -> None:
        grads = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        # Unit gradients want equal weights; given back to lengths 3 and 1 these are 1/3 : 1.
        torch.testing.assert_close(
            weights(Mgda(normalize="length"), grads), torch.tensor([0.25, 0.75], dtype=torch.float64)
        )
        scaled = torch.tensor([[100.0], [0.01]], dtype=torch.float64)
        for seed in range(5):
            pair = normal(2, 7, seed=seed)
            one, two = direction(Mgda(normalize="length"), pair), direction(Mgda(normalize="length"), scaled * pair)
            torch.testing.assert_close(one / one.norm(), two / two.norm(), rtol=1e-6, atol=1e-8)


class TestCAGrad:
    @settings(max_examples=60)
    @given(K=domains, rank=st.integers(1, 6), seed=seeds, c=st.floats(0.05, 1.5))
    def test_it_solves_its_problem(self, K: int, rank: int, seed: int, c: float) -> None:
        """In the ball, and as good for the worst domain as the dual's bound says anything in the ball can be."""
        grads = gradients(K, rank, seed)
        found, g = weights(CAGrad(c=c), grads), grads.mean(0)
        assume(not torch.equal(found, torch.full_like(found, 1 / K)))  # D = g at a Pareto-stationary point
        away = (1 + c) * found - 1 / K
        radius, scale = c * g.norm(), float(grads.square().sum())
        a = away / away.sum()
        assert (a >= -1e-9).all()
        D = (1 + c) * found @ grads
        assert (D - g).norm() <= radius * (1 + 1e-9)
        bound = (a @ grads) @ g + radius * (a @ grads).norm()
        worst = (grads @ D).min()
        assert worst >= bound - 1e-6 * scale
        others = g + radius * torch.nn.functional.normalize(normal(200, 7, seed=seed + 5), dim=1)
        assert worst >= (others @ grads.mT).min(1)[0].max() - 1e-6 * scale

    def test_two_gradients_of_one_length(self) -> None:
        """By symmetry g_a = g, and D = (1 + c) g / (1 + c)."""
        grads = torch.tensor([[1.0, 0.5], [-1.0, 0.5]], dtype=torch.float64)
        torch.testing.assert_close(direction(CAGrad(c=0.7), grads), torch.tensor([0.0, 0.5], dtype=torch.float64))

    def test_one_domain_is_the_worst(self) -> None:
        """g = (2, 0) with g_2 = (-1, 0) opposed: on a line D = g - c |g|, over 1 + c."""
        grads = torch.tensor([[5.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
        torch.testing.assert_close(direction(CAGrad(c=0.5), grads), torch.tensor([1 / 1.5, 0.0]).double())

    def test_no_radius_is_the_mean(self) -> None:
        grads = normal(4, 7)
        torch.testing.assert_close(direction(CAGrad(c=0.0), grads), grads.mean(0))
        torch.testing.assert_close(direction(CAGrad(c=1e-9), grads), grads.mean(0), rtol=1e-7, atol=1e-8)
        assert CAGrad().c == 0.5

    def test_a_stationary_point_gives_the_mean(self) -> None:
        # 0 is in the hull of the first three, and all of them are near enough to the mean's side.
        grads = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        torch.testing.assert_close(direction(CAGrad(c=0.5), grads), grads.mean(0))
