"""Properties that hold for every method, and the numbers that pin each."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.common.errors import UserError
from isograd.gradients import METHODS, Erm, Iga, LocalMethod, LossMethod, LowRank, make_method

LOCAL = [
    Iga(),
    Iga(tau=0.0),
    Iga(tau=5.0),
    Iga(tau=2.0, normalization="none"),
    Iga(svd="exact"),
    Iga(svd="none"),
    Iga(rank=2),
]
LOSS = [Erm(), Erm(balance="token")]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("method", LOCAL, ids=repr)
class TestEveryLocalMethod:
    @settings(max_examples=20, deadline=None)
    @given(K=st.integers(1, 5), m=st.integers(1, 6), n=st.integers(1, 6), seed=st.integers(0, 999))
    def test_rows_of_the_merge_are_the_merge_of_rows(
        self, method: LocalMethod, K: int, m: int, n: int, seed: int
    ) -> None:
        grads = random(K, m, n, seed=seed)
        before = grads.clone()
        whole = method.merge(grads)
        cut = m // 2
        assert torch.equal(torch.cat([method.merge(grads[:, :cut]), method.merge(grads[:, cut:])]), whole)
        assert torch.equal(grads, before)

    @settings(max_examples=20, deadline=None)
    @given(K=st.integers(1, 5), seed=st.integers(0, 999))
    def test_the_order_of_domains_does_not_matter(self, method: LocalMethod, K: int, seed: int) -> None:
        grads = random(K, 4, 5, seed=seed)
        order = torch.randperm(K, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(method.merge(grads[order]), method.merge(grads), rtol=1e-12, atol=1e-14)

    @settings(max_examples=20, deadline=None)
    @given(K=st.integers(1, 5), seed=st.integers(0, 999))
    def test_equal_domains_give_their_gradient(self, method: LocalMethod, K: int, seed: int) -> None:
        gradient = random(4, 5, seed=seed)
        torch.testing.assert_close(method.merge(gradient.expand(K, 4, 5)), gradient, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_zero_gradients_give_zero(self, method: LocalMethod, dtype: torch.dtype) -> None:
        direction = method.merge(torch.zeros(3, 6, 7, dtype=dtype))
        assert torch.equal(direction, torch.zeros(6, 7, dtype=dtype))
        kept = method.project(direction, 2, torch.ones(7, method.test_columns(2), dtype=dtype))
        dense = kept.dense() if isinstance(kept, LowRank) else kept
        assert torch.equal(dense, torch.zeros(6, 7, dtype=dtype))

    def test_a_nan_gradient_stays_visible(self, method: LocalMethod) -> None:
        grads = random(3, 6, 7)
        grads[1, 2, 3] = torch.nan
        kept = method.project(method.merge(grads), 2, random(7, method.test_columns(2)))
        dense = kept.dense() if isinstance(kept, LowRank) else kept
        assert dense.isnan().any()


class TestIga:
    def test_values(self) -> None:
        # Coordinates: agreement, opposition, one domain only, nothing.
        grads = torch.tensor([[[2.0, 1.0, 4.0, 0.0]], [[2.0, -1.0, 0.0, 0.0]]], dtype=torch.float64)
        # V = Var / mean square: 0, 1/1, 4/8, 0 by convention.
        expected = [[2.0, 0.0, 2.0 * math.exp(-1.5 * 0.5), 0.0]]
        torch.testing.assert_close(Iga(tau=1.5).merge(grads), torch.tensor(expected, dtype=torch.float64))
        raw = [[2.0, 0.0, 2.0 * math.exp(-1.5 * 4.0), 0.0]]
        merged = Iga(tau=1.5, normalization="none").merge(grads)
        torch.testing.assert_close(merged, torch.tensor(raw, dtype=torch.float64))

    def test_four_domains_against_the_equations(self) -> None:
        grads = random(4, 3, 5)
        mean, variance = grads.mean(0), grads.var(0, unbiased=False)
        mask = torch.exp(-0.7 * variance / grads.square().mean(0))
        torch.testing.assert_close(Iga(tau=0.7).merge(grads), mask * mean, rtol=1e-12, atol=0)
        raw = torch.exp(-0.7 * variance) * mean
        torch.testing.assert_close(Iga(tau=0.7, normalization="none").merge(grads), raw, rtol=1e-12, atol=0)

    def test_the_normalized_mask_does_not_see_the_scale(self) -> None:
        grads = random(4, 3, 5)
        torch.testing.assert_close(Iga().merge(1e-6 * grads), 1e-6 * Iga().merge(grads), rtol=1e-10, atol=0)

    def test_tau_zero_is_the_mean(self) -> None:
        grads = random(4, 3, 5)
        torch.testing.assert_close(Iga(tau=0.0).merge(grads), grads.mean(0), rtol=1e-12, atol=0)

    def test_a_huge_tau_keeps_only_agreement(self) -> None:
        grads = torch.stack([torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.5]])])
        assert torch.equal(Iga(tau=1e6).merge(grads), torch.tensor([[1.0, 0.0]]))

    def test_rank_overrides_the_adapter(self) -> None:
        kept = Iga(rank=2).project(random(6, 7), 4, random(7, 10))
        assert isinstance(kept, LowRank)
        assert kept.left.shape == (6, 2)
        assert Iga(rank=2, oversample=3).test_columns(4) == 5
        assert Iga(oversample=3).test_columns(4) == 7
        assert Iga(svd="exact").test_columns(4) == Iga(svd="none").test_columns(4) == 0


class TestErm:
    def test_values(self) -> None:
        losses, tokens = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 1.0])
        assert Erm().combine(losses, tokens).item() == 2.5
        assert Erm(balance="token").combine(losses, tokens).item() == 1.75

    @pytest.mark.parametrize("method", LOSS, ids=repr)
    def test_equal_losses_give_that_loss_and_weights_sum_to_one(self, method: LossMethod) -> None:
        losses = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
        combined = method.combine(losses, torch.tensor([5.0, 1.0, 2.0], dtype=torch.float64))
        combined.backward()
        assert math.isclose(combined.item(), 0.5)
        assert losses.grad is not None
        assert math.isclose(losses.grad.sum().item(), 1.0)


class TestRegistry:
    def test_makes_each_method(self) -> None:
        assert make_method("iga", tau=2.0) == Iga(tau=2.0)
        assert make_method("erm", balance="token") == Erm(balance="token")
        for name, method in METHODS.items():
            assert type(make_method(name)) is method
            assert dataclasses.fields(method) is not None

    @pytest.mark.parametrize(
        ("name", "params", "message"),
        [
            ("igs", {}, "unknown method 'igs'; did you mean 'iga'?"),
            ("zzzzz", {}, "unknown method 'zzzzz'; there are: erm, iga"),
            ("iga", {"tua": 1.0}, "method 'iga' has no parameter 'tua'; did you mean 'tau'?"),
            ("erm", {"tau": 1.0}, "method 'erm' has no parameter 'tau'; there are: balance"),
            ("iga", {"tau": -1.0}, "iga: tau is -1.0; use a finite number >= 0"),
            ("iga", {"tau": math.nan}, "iga: tau is nan; use a finite number >= 0"),
            ("iga", {"tau": "big"}, "iga: tau is 'big'; use a finite number >= 0"),
            ("iga", {"rank": 0}, "iga: rank is 0; use an integer >= 1"),
            ("iga", {"oversample": -1}, "iga: oversample is -1; use an integer >= 0"),
            ("iga", {"power_iterations": 1.5}, "iga: power_iterations is 1.5; use an integer >= 0"),
            ("iga", {"svd": "lapack"}, "iga: svd is 'lapack'; use one of 'randomized', 'exact', 'none'"),
            ("iga", {"normalization": "std"}, "iga: normalization is 'std'; use one of 'mean_square', 'none'"),
            ("erm", {"balance": "row"}, "erm: balance is 'row'; use one of 'domain', 'token'"),
        ],
    )
    def test_mistakes(self, name: str, params: dict[str, object], message: str) -> None:
        with pytest.raises(UserError) as caught:
            make_method(name, **params)
        assert str(caught.value) == message
