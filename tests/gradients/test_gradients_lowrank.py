"""Low-rank algebra against dense linear algebra."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.common.errors import UserError
from isograd.gradients import (
    LowRank,
    chain_rule,
    gaussian_test_matrix,
    retract,
    tangent_factors,
    tangent_projection,
    truncated_svd,
)

sizes = st.integers(1, 9)
seeds = st.integers(0, 999)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def of_rank(m: int, n: int, r: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return (random(m, r, seed=seed) @ random(r, n, seed=seed + 1)).to(dtype)


def decaying(m: int, n: int, rate: float, seed: int = 0) -> Tensor:
    U, _ = torch.linalg.qr(random(m, min(m, n), seed=seed))
    V, _ = torch.linalg.qr(random(n, min(m, n), seed=seed + 1))
    return (U * rate ** torch.arange(min(m, n), dtype=torch.float64)) @ V.mT


def best_error(G: Tensor, rank: int) -> Tensor:
    return torch.linalg.svdvals(G)[rank:].square().sum().sqrt()


class TestTruncatedSvd:
    @settings(max_examples=30, deadline=None)
    @given(m=sizes, n=sizes, rank=st.integers(1, 6), seed=seeds)
    def test_exact_is_the_best_approximation(self, m: int, n: int, rank: int, seed: int) -> None:
        G = random(m, n, seed=seed)
        low = truncated_svd(G, rank, method="exact")
        error = torch.linalg.matrix_norm(G - low.dense())
        torch.testing.assert_close(error, best_error(G, rank), rtol=1e-9, atol=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(m=sizes, n=sizes, true=st.integers(0, 4), rank=st.integers(4, 6), seed=seeds)
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
    def test_randomized_recovers_a_low_rank_matrix(
        self, dtype: torch.dtype, tolerance: float, m: int, n: int, true: int, rank: int, seed: int
    ) -> None:
        G = of_rank(m, n, true, seed, dtype)
        low = truncated_svd(G, rank)
        assert low.left.dtype == low.right.dtype == dtype
        scale = max(1.0, torch.linalg.matrix_norm(G).item())
        torch.testing.assert_close(low.dense(), G, rtol=0, atol=tolerance * scale)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
    @pytest.mark.parametrize("rate", [0.5, 0.8, 0.95])
    def test_randomized_is_close_to_exact(self, dtype: torch.dtype, shape: tuple[int, int], rate: float) -> None:
        G = decaying(*shape, rate)
        low = truncated_svd(G.to(dtype), 8)
        error = torch.linalg.matrix_norm(G - low.dense().double())
        assert error <= 1.02 * best_error(G, 8)
        identity = torch.eye(8, dtype=dtype)
        torch.testing.assert_close(low.left.mT @ low.left, identity, rtol=0, atol=1e-4 if dtype.itemsize == 4 else 1e-9)
        # right = S V': orthogonal rows in descending order.
        gram = (low.right @ low.right.mT).double()
        assert (gram - gram.diag().diag()).abs().max() < 1e-5
        assert (gram.diag().diff() <= 0).all()

    def test_float64_resolves_a_steep_spectrum(self) -> None:
        G = decaying(40, 30, 1e-2)
        low = truncated_svd(G, 4)
        identity = torch.eye(4, dtype=torch.float64)
        torch.testing.assert_close(low.left.mT @ low.left, identity, rtol=0, atol=1e-9)
        values = torch.linalg.vector_norm(low.right, dim=1)
        torch.testing.assert_close(values, torch.tensor([1, 1e-2, 1e-4, 1e-6]).double(), rtol=1e-6, atol=0)

    def test_power_iterations_sharpen(self) -> None:
        G = decaying(80, 80, 0.97)
        errors = [torch.linalg.matrix_norm(G - truncated_svd(G, 8, power_iterations=q).dense()) for q in (0, 1, 3)]
        assert errors[0] > errors[1] > errors[2] >= best_error(G, 8)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("scale", [1e-18, 1e15])
    def test_any_scale(self, dtype: torch.dtype, scale: float) -> None:
        G = of_rank(20, 15, 3, 0, dtype) * scale
        torch.testing.assert_close(truncated_svd(G, 3).dense() / scale, G / scale, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("method", ["exact", "randomized"])
    def test_zero_and_nan(self, method: str) -> None:
        zero = truncated_svd(torch.zeros(5, 4), 2, method=method)
        assert torch.equal(zero.dense(), torch.zeros(5, 4))
        assert truncated_svd(torch.full((5, 4), torch.nan), 2, method=method).dense().isnan().all()

    def test_is_deterministic_and_its_seed_is_named(self) -> None:
        G = random(30, 20)
        assert torch.equal(truncated_svd(G, 3).left, truncated_svd(G, 3).left)
        one, two = gaussian_test_matrix(20, 4, seed=0), gaussian_test_matrix(20, 4, seed=1)
        assert not torch.equal(one, two)
        assert torch.equal(gaussian_test_matrix(20, 4, dtype=torch.float64), one.double())
        assert round(one[0, 0].item(), 5) == -1.39385

    def test_mistakes(self) -> None:
        with pytest.raises(UserError, match="rank is 0"):
            truncated_svd(random(3, 3), 0)
        with pytest.raises(UserError, match="test_matrix has 1 columns; give at least 2"):
            truncated_svd(random(3, 3), 2, test_matrix=random(3, 1))


class TestChainRule:
    @settings(max_examples=25, deadline=None)
    @given(m=sizes, n=sizes, r=st.integers(1, 4), seed=seeds)
    def test_is_what_autograd_does(self, m: int, n: int, r: int, seed: int) -> None:
        A = random(r, n, seed=seed).requires_grad_()
        B = random(m, r, seed=seed + 1).requires_grad_()
        G = LowRank(random(m, 2, seed=seed + 2), random(2, n, seed=seed + 3))
        (1.7 * (B @ A) * G.dense()).sum().backward()
        for form in (G, G.dense()):
            dA, dB = chain_rule(form, A.detach(), B.detach(), 1.7)
            torch.testing.assert_close(dA, A.grad, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(dB, B.grad, rtol=1e-10, atol=1e-10)

    def test_has_the_dtype_of_the_gradient(self) -> None:
        A, B = random(2, 4, dtype=torch.bfloat16), random(3, 2, dtype=torch.bfloat16)
        G = random(3, 4, dtype=torch.float32)
        for form in (G, truncated_svd(G, 2)):
            assert {one.dtype for one in chain_rule(form, A, B, 1.0)} == {torch.float32}


class TestTangentProjection:
    @settings(max_examples=30, deadline=None)
    @given(m=sizes, n=sizes, r=st.integers(1, 4), seed=seeds, deficient=st.sampled_from(["no", "B=0", "A=0", "rank 1"]))
    def test_is_the_orthogonal_projection(self, m: int, n: int, r: int, seed: int, deficient: str) -> None:
        A, B, G = random(r, n, seed=seed), random(m, r, seed=seed + 1), random(m, n, seed=seed + 2)
        if deficient == "B=0":
            B.zero_()
        elif deficient == "A=0":
            A.zero_()
        elif deficient == "rank 1":
            B = B[:, :1].expand(m, r)
        P = tangent_projection(G, A, B)
        torch.testing.assert_close(tangent_projection(P, A, B), P, rtol=0, atol=1e-7)  # idempotent
        X, Y = random(r, n, seed=seed + 3), random(m, r, seed=seed + 4)
        tangent = B @ X + Y @ A
        assert abs(((G - P) * tangent).sum()) < 1e-7 * (1 + tangent.norm() * G.norm())  # orthogonal residual
        dA, dB = tangent_factors(G, A, B)
        torch.testing.assert_close(B @ dA + dB @ A, P)  # reachable
        torch.testing.assert_close(tangent_projection(tangent, A, B), tangent, rtol=1e-6, atol=1e-6)

    def test_the_formula(self) -> None:
        A, B, G = random(2, 6), random(5, 2, seed=1), random(5, 6, seed=2)
        P_U, P_V = B @ torch.linalg.pinv(B), torch.linalg.pinv(A) @ A
        torch.testing.assert_close(tangent_projection(G, A, B), P_U @ G + G @ P_V - P_U @ G @ P_V)
        torch.testing.assert_close(tangent_projection(G, A, 0 * B), G @ P_V)


class TestRetract:
    @settings(max_examples=30, deadline=None)
    @given(m=sizes, n=sizes, r=st.integers(1, 4), q=st.integers(1, 4), rank=st.integers(1, 5), seed=seeds)
    def test_is_the_best_approximation_in_balanced_factors(
        self, m: int, n: int, r: int, q: int, rank: int, seed: int
    ) -> None:
        A, B = random(r, n, seed=seed), random(m, r, seed=seed + 1)
        delta = LowRank(random(m, q, seed=seed + 2), random(q, n, seed=seed + 3))
        target = B @ A + delta.dense()
        for form in (delta, delta.dense()):
            new_A, new_B = retract(A, B, form, rank)
            assert new_A.shape == (rank, n)
            assert new_B.shape == (m, rank)
            error = torch.linalg.matrix_norm(target - new_B @ new_A)
            torch.testing.assert_close(error, best_error(target, rank), rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(new_B.mT @ new_B, new_A @ new_A.mT, rtol=1e-8, atol=1e-8)

    def test_no_step_and_zero(self) -> None:
        A, B = random(2, 6), random(5, 2, seed=1)
        new_A, new_B = retract(A, B, torch.zeros(5, 6, dtype=torch.float64), 2)
        torch.testing.assert_close(new_B @ new_A, B @ A)
        zero_A, zero_B = retract(0 * A, 0 * B, LowRank(0 * B, 0 * A), 3)
        assert torch.equal(zero_B @ zero_A, torch.zeros(5, 6, dtype=torch.float64))
        with pytest.raises(UserError, match="rank is 0"):
            retract(A, B, B @ A, 0)

    def test_agrees_with_the_tangent_to_first_order(self) -> None:
        A, B, G = random(2, 6), random(5, 2, seed=1), random(5, 6, seed=2)
        for step in (1e-3, 1e-4):
            new_A, new_B = retract(A, B, step * G, 2)
            moved = (new_B @ new_A - B @ A) / step
            assert torch.linalg.matrix_norm(moved - tangent_projection(G, A, B)) < 100 * step
