"""Invariant Gradient Alignment in all its forms, against numbers and against loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from gradient_cases import NORMALIZATIONS, context, dense, merged, normal
from torch import Tensor

from isograd.gradients import Iga, LowRank, State


def matrix(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


class TestTheMask:
    # Coordinates: agreement, opposition, one domain only, nothing.
    GRADS = torch.tensor([[[2.0, 1.0, 4.0, 0.0]], [[2.0, -1.0, 0.0, 0.0]]], dtype=torch.float64)

    @pytest.mark.parametrize(
        ("normalization", "third"),
        [
            ("mean_square", 4 / 8),  # v = 4, mean square 8
            ("mean_squared", 4 / 4),  # g = 2
            ("layer_mean", 4 / 1.25),  # v is 0, 1, 4, 0 in the layer
            ("none", 4.0),
        ],
    )
    def test_values(self, normalization: Any, third: float) -> None:
        expected = matrix([[2.0, 0.0, 2.0 * math.exp(-1.5 * third), 0.0]])
        torch.testing.assert_close(merged(Iga(tau=1.5, normalization=normalization), self.GRADS), expected)

    def test_opposition_alone_does_not_overflow(self) -> None:
        for dtype in (torch.float32, torch.float64):
            grads = torch.tensor([[[1e18]], [[-1e18]]], dtype=dtype)
            for normalization in NORMALIZATIONS:
                assert merged(Iga(normalization=normalization), grads).item() == 0.0

    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    def test_four_domains_against_the_equations(self, normalization: Any) -> None:
        grads = normal(4, 3, 5)
        mean, variance = grads.mean(0), grads.var(0, unbiased=False)
        normalizer = {
            "mean_square": grads.square().mean(0),
            "mean_squared": mean.square(),
            "layer_mean": variance.mean(),
            "none": 1.0,
        }[normalization]
        expected = torch.exp(-0.7 * variance / normalizer) * mean
        direction = merged(Iga(tau=0.7, normalization=normalization), grads)
        torch.testing.assert_close(direction, expected, rtol=1e-10, atol=1e-14)

    def test_the_normalized_variance_is_between_zero_and_one(self) -> None:
        grads = normal(5, 20, 20)
        mask = merged(Iga(tau=1.0), grads) / grads.mean(0)
        assert mask.max() <= 1 + 1e-12
        assert mask.min() >= math.exp(-1) - 1e-12

    def test_tau_zero_is_the_mean_and_a_huge_tau_keeps_only_agreement(self) -> None:
        grads = normal(4, 3, 5)
        torch.testing.assert_close(merged(Iga(tau=0.0), grads), grads.mean(0), rtol=1e-12, atol=0)
        pair = torch.tensor([[[1.0, 1.0]], [[1.0, 0.5]]])
        assert torch.equal(merged(Iga(tau=1e6), pair), torch.tensor([[1.0, 0.0]]))

    def test_the_schedule(self) -> None:
        method = Iga(tau=3.0, tau_start=2, tau_ramp=2)
        assert [method.at(step, 100).tau for step in range(6)] == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]
        assert method.at(3, 100).tau_ramp == 2  # nothing else changes
        assert [Iga(tau=3.0, tau_start=2).at(step, 100).tau for step in range(4)] == [0.0, 0.0, 3.0, 3.0]
        assert Iga(tau=3.0).at(0, 1) == Iga(tau=3.0)


class TestSets:
    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    def test_the_equation_in_loops(self, normalization: Any) -> None:
        S, K, m, n, tau = 3, 4, 2, 5, 0.8
        grads = normal(S, K, m, n)
        variance = torch.zeros(m, n, dtype=torch.float64)
        mean_square, squared_mean, mean = (torch.zeros_like(variance) for _ in range(3))
        for i in range(S):
            own = sum(grads[i, k] for k in range(K)) / K
            mean += own / S
            squared_mean += own**2 / S
            for k in range(K):
                variance += (grads[i, k] - own) ** 2 / (S * K)
                mean_square += grads[i, k] ** 2 / (S * K)
        normalizer = {
            "mean_square": mean_square,
            "mean_squared": squared_mean,
            "layer_mean": variance.mean(),
            "none": 1.0,
        }[normalization]
        expected = torch.exp(-tau * variance / normalizer) * mean
        direction = merged(Iga(tau=tau, variance="set", normalization=normalization), grads)
        torch.testing.assert_close(direction, expected, rtol=1e-10, atol=1e-14)

    def test_sets_that_differ_are_no_conflict(self) -> None:
        """Two sets pull apart, the domains of each agree: nothing is masked; over the batch they do agree too."""
        grads = torch.tensor([3.0, -1.0], dtype=torch.float64)[:, None, None, None].expand(2, 4, 1, 1)
        assert merged(Iga(variance="set", tau=5.0), grads).item() == pytest.approx(1.0)
        mixed = torch.tensor([[3.0, -1.0], [-1.0, 3.0]], dtype=torch.float64)[..., None, None]
        assert merged(Iga(variance="set", tau=5.0), mixed).item() == pytest.approx(math.exp(-5 * 4 / 5))
        assert merged(Iga(tau=5.0), mixed.mean(0)).item() == pytest.approx(1.0)  # the batch hides it

    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    def test_one_set_is_the_batch(self, normalization: Any) -> None:
        grads = normal(1, 4, 3, 5)
        one = merged(Iga(variance="set", normalization=normalization), grads)
        torch.testing.assert_close(one, merged(Iga(normalization=normalization), grads[0]), rtol=1e-10, atol=1e-14)


class TestRunning:
    def test_three_steps(self) -> None:
        method, state = Iga(variance="running", decay=0.75, tau=1.0), State()
        # g, mean square of a single coordinate: (1, 2), (0, 4), (3, 9)
        steps = [([0.0, 2.0], 1.0, 2.0), ([2.0, -2.0], 0.0, 4.0), ([3.0, 3.0], 3.0, 9.0)]
        squared, square = 1.0, 2.0
        for index, (values, mean, own) in enumerate(steps):
            if index:
                squared, square = 0.75 * squared + 0.25 * mean**2, 0.75 * square + 0.25 * own
            direction = merged(method, torch.tensor(values).double()[:, None, None], state=state)
            assert state["squared_mean"].item() == pytest.approx(squared)
            assert state["mean_square"].item() == pytest.approx(square)
            assert direction.item() == pytest.approx(mean * math.exp(-(1 - squared / square)))
        assert sorted(state) == ["mean_square", "squared_mean"]

    def test_the_first_step_and_no_memory_are_the_batch(self) -> None:
        first, second = normal(3, 4, 5), normal(3, 4, 5, seed=1)
        assert torch.allclose(merged(Iga(variance="running"), first), merged(Iga(), first), rtol=1e-10)
        forgetful, state = Iga(variance="running", decay=0.0), State()
        merged(forgetful, first, state=state)
        torch.testing.assert_close(merged(forgetful, second, state=state), merged(Iga(), second), rtol=1e-10, atol=0)

    def test_it_learns_before_the_mask_begins_to_act(self) -> None:
        method, state = Iga(variance="running", tau_start=1, decay=0.5), State()
        first, second = normal(3, 4, 5), normal(3, 4, 5, seed=1)
        torch.testing.assert_close(merged(method.at(0, 9), first, state=state), first.mean(0))
        merged(method.at(1, 9), second, state=state)
        expected = 0.5 * first.square().mean(0) + 0.5 * second.square().mean(0)
        torch.testing.assert_close(state["mean_square"], expected)

    def test_a_saved_state_goes_on(self) -> None:
        method, state = Iga(variance="running"), State()
        merged(method, normal(3, 4, 5), state=state)
        saved = {key: value.clone() for key, value in state.items()}
        second = normal(3, 4, 5, seed=1)
        assert torch.equal(merged(method, second, state=state), merged(method, second, state=saved))
        assert all(torch.equal(state[key], saved[key]) for key in state)


class TestSingular:
    @pytest.mark.parametrize("variance", ["batch", "set"])
    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    @pytest.mark.parametrize("rank", [2, 5])
    def test_it_turns_with_the_weight(self, variance: Any, normalization: Any, rank: int) -> None:
        method = Iga(basis="singular", svd="exact", variance=variance, normalization=normalization, tau=2.0)
        grads = normal(2, 3, 5, 6) if variance == "set" else normal(3, 5, 6)
        P, _ = torch.linalg.qr(normal(5, 5, seed=1))
        Q, _ = torch.linalg.qr(normal(6, 6, seed=2))
        turned = merged(method, P @ grads @ Q, rank=rank)
        torch.testing.assert_close(turned, P @ merged(method, grads, rank=rank) @ Q, rtol=1e-8, atol=1e-10)

    def test_entries_do_not_turn(self) -> None:
        grads = normal(3, 5, 6)
        P, _ = torch.linalg.qr(normal(5, 5, seed=1))
        assert (merged(Iga(), P @ grads) - P @ merged(Iga(), grads)).abs().max() > 1e-3

    def test_the_equation_in_loops(self) -> None:
        grads, tau, rank = normal(3, 4, 5), 1.3, 2
        U, S, Vh = torch.linalg.svd(grads.mean(0), full_matrices=False)
        expected = torch.zeros(4, 5, dtype=torch.float64)
        for i in range(rank):
            along = torch.stack([U[:, i] @ grads[k] @ Vh[i] for k in range(3)])
            V = along.var(unbiased=False) / along.square().mean()
            expected += torch.exp(-tau * V) * S[i] * torch.outer(U[:, i], Vh[i])
        direction = merged(Iga(basis="singular", svd="exact", tau=tau), grads, rank=rank)
        torch.testing.assert_close(direction, expected, rtol=1e-9, atol=1e-12)

    def test_it_comes_as_two_factors_and_is_not_truncated_again(self) -> None:
        grads = normal(3, 6, 7)
        method = Iga(basis="singular", svd="exact")
        direction = method.merge_layer(grads, context(2))
        assert isinstance(direction, LowRank)
        assert direction.left.shape == (6, 2)
        assert method.project(direction, context(2)) is direction


class TestInput:
    @pytest.mark.parametrize("variance", ["batch", "set", "running"])
    def test_it_turns_with_the_input(self, variance: Any) -> None:
        method = Iga(basis="input", svd="none", variance=variance, tau=2.0)
        grads = normal(2, 3, 5, 6) if variance == "set" else normal(3, 5, 6)
        Q, _ = torch.linalg.qr(normal(6, 6, seed=2))
        torch.testing.assert_close(merged(method, grads @ Q), merged(method, grads) @ Q, rtol=1e-8, atol=1e-10)

    def test_the_equation_by_the_matrix_exponential(self) -> None:
        grads, tau = normal(4, 5, 3), 1.7
        g = grads.mean(0)
        T = sum(grads[k].T @ grads[k] for k in range(4)) / 4
        damped = T + 1e-3 * T.diagonal().mean() * torch.eye(3, dtype=T.dtype)
        expected = g @ torch.linalg.matrix_exp(-tau * torch.linalg.solve(damped, T - g.T @ g))
        direction = merged(Iga(basis="input", svd="none", tau=tau), grads)
        torch.testing.assert_close(direction, expected, rtol=1e-9, atol=1e-12)

    def test_one_input_feature_is_one_coordinate(self) -> None:
        """With a single input the matrix mask is the mask of the whole column: mean square over outputs and domains."""
        grads, tau = normal(3, 5, 1), 2.0
        g = grads.mean(0)
        V = 1 - g.square().sum() / (grads.square().sum() / 3)
        direction = merged(Iga(basis="input", svd="none", tau=tau, damping=1e-12), grads)
        torch.testing.assert_close(direction, g * torch.exp(-tau * V), rtol=1e-9, atol=1e-12)

    def test_agreement_and_conflict_that_lie_askew_are_told_apart(self) -> None:
        """Both directions have weight on every input feature: entries cannot separate them, the matrix does."""
        Q, _ = torch.linalg.qr(normal(8, 8, seed=3))
        P, _ = torch.linalg.qr(normal(6, 6, seed=4))
        agreed, disputed = torch.outer(P[0], Q[0]), torch.outer(P[1], Q[1])
        signs = torch.tensor([3.0, -1.0, -1.0, 3.0], dtype=torch.float64)
        grads = torch.stack([agreed + sign * disputed for sign in signs])

        def ratio(direction: Any) -> float:
            return ((direction @ Q[1]).norm() / (direction @ Q[0]).norm()).item()

        before = ratio(grads.mean(0))
        assert ratio(merged(Iga(basis="input", svd="none", tau=10.0), grads)) < 0.01 * before
        assert ratio(merged(Iga(svd="none", tau=10.0), grads)) > 0.2 * before


class TestShuffled:
    @pytest.mark.parametrize("options", [{}, {"normalization": "layer_mean"}, {"variance": "set"}, {"space": "factor"}])
    def test_the_same_values_elsewhere(self, options: dict[str, Any]) -> None:
        grads = normal(2, 3, 6, 7) if "variance" in options else normal(3, 6, 7)
        mean = grads.mean((0, 1)) if "variance" in options else grads.mean(0)
        straight, mixed = merged(Iga(**options), grads) / mean, merged(Iga(shuffled=True, **options), grads) / mean
        assert (straight - mixed).abs().max() > 1e-3
        torch.testing.assert_close(straight.flatten().sort()[0], mixed.flatten().sort()[0], rtol=1e-8, atol=1e-10)

    def test_singular_directions_trade_their_masks(self) -> None:
        grads = normal(3, 5, 6)
        straight, mixed = (
            Iga(basis="singular", svd="exact", shuffled=shuffled).merge_layer(grads, context(5))
            for shuffled in (False, True)
        )
        assert isinstance(straight, LowRank)
        assert isinstance(mixed, LowRank)
        singular = torch.linalg.svdvals(grads.mean(0))
        masks = [torch.linalg.vector_norm(one.right, dim=1) / singular for one in (straight, mixed)]
        assert (masks[0] - masks[1]).abs().max() > 1e-3
        torch.testing.assert_close(masks[0].sort()[0], masks[1].sort()[0])

    def test_another_generator_gives_another_order(self) -> None:
        grads, method = normal(3, 6, 7), Iga(shuffled=True)
        one, two = (dense(method.merge_layer(grads, context(2, seed=seed))) for seed in (0, 1))
        assert (one - two).abs().max() > 1e-3


def test_factor_space_masks_each_factor_for_itself() -> None:
    of_A = normal(3, 2, 7)
    assert torch.equal(merged(Iga(space="factor"), of_A), merged(Iga(), of_A))
    assert Iga(space="factor").space == "factor"


def test_equal_domains_in_the_gradients_of_the_factors() -> None:
    """ERM's without the SVD, and those of ERM's truncated gradient with it, which are far from ERM's."""
    G, A, B, s = normal(32, 32), normal(4, 32, seed=1), normal(32, 4, seed=2), 2.0
    grads = G.expand(4, 32, 32)
    erm = torch.cat([(s * B.mT @ G).flatten(), (s * G @ A.mT).flatten()])

    def found(method: Iga, of: Tensor) -> Tensor:
        layer = context(4, method=method, like=grads)
        direction = method.project(method.merge_layer(of, layer), layer)
        return torch.cat([one.flatten() for one in method.factor_gradients(direction, A, B, s)])

    torch.testing.assert_close(found(Iga(svd="none"), grads), erm, rtol=1e-12, atol=1e-12)
    for method in (Iga(), Iga(svd="exact"), Iga(basis="singular"), Iga(basis="input")):
        torch.testing.assert_close(found(method, grads), found(Iga(tau=0.0, svd=method.svd), G[None]))
        assert (found(method, grads) - erm).norm() > 0.5 * erm.norm()
    thin = normal(32, 4) @ normal(4, 32, seed=1)  # a mean gradient of the adapter's rank
    whole = torch.cat([(s * B.mT @ thin).flatten(), (s * thin @ A.mT).flatten()])
    torch.testing.assert_close(found(Iga(), thin.expand(4, 32, 32)), whole, rtol=1e-9, atol=1e-9)
