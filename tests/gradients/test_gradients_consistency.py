"""Isomer consistency: values, the identity with logit gradients, and safety."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.gradients import (
    CONSISTENCY,
    HIDDEN_CONSISTENCY,
    hidden_cosine,
    jensen_shannon,
    kl_to_mean,
    logit_gradient_variance,
)

LARGEST = {jensen_shannon: math.log, logit_gradient_variance: lambda K: 1.0, kl_to_mean: lambda K: math.inf}


def random(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_logit_variance_is_the_variance_of_logit_gradients() -> None:
    logits = random(5, 4, 7).requires_grad_()
    labels = torch.arange(5)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(4), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = gradient.var(dim=1, unbiased=False).sum(-1).mean()
    torch.testing.assert_close(logit_gradient_variance(logits), expected)


def test_values() -> None:
    sure = torch.tensor([[[100.0, 0.0], [0.0, 100.0]]])  # two members, each certain of another token
    assert logit_gradient_variance(sure).item() == pytest.approx(0.5)
    assert jensen_shannon(sure).item() == pytest.approx(math.log(2))
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    mixed = (p + q) / 2
    expected = 0.5 * ((p * (p / mixed).log()).sum() + (q * (q / mixed).log()).sum())
    assert jensen_shannon(torch.stack([p, q]).log()[None]).item() == pytest.approx(expected.item())
    assert logit_gradient_variance(torch.stack([p, q]).log()[None]).item() == pytest.approx(2 * 0.2**2)


@pytest.mark.parametrize("term", CONSISTENCY.values(), ids=CONSISTENCY)
class TestEveryTerm:
    @settings(max_examples=25, deadline=None)
    @given(n=st.integers(1, 4), K=st.integers(1, 5), V=st.integers(1, 6), seed=st.integers(0, 999))
    def test_bounds_and_symmetry(self, term, n: int, K: int, V: int, seed: int) -> None:
        logits = random(n, K, V, seed=seed)
        value = term(logits)
        assert -1e-12 <= value <= LARGEST[term](K) + 1e-12
        order = torch.randperm(K, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(term(logits[:, order]), value)
        torch.testing.assert_close(term(logits + random(n, K, 1, seed=seed + 1)), value)  # softmax is shift-invariant

    def test_agreement_costs_nothing_and_pulls_nowhere(self, term) -> None:
        logits = random(3, 1, 6).expand(3, 4, 6).clone().requires_grad_()
        value = term(logits)
        value.backward()
        assert abs(value.item()) < 1e-14
        assert logits.grad.abs().max() < 1e-14

    def test_absent_members_count_for_nothing(self, term) -> None:
        logits = random(3, 3, 5)
        members = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
        logits[1, 1], logits[2, 0] = torch.nan, torch.inf
        logits.requires_grad_()
        # The third position has one member and drops out of the mean.
        expected = (term(logits[:1]) + term(logits[1:2][:, [0, 2]])) / 2
        value = term(logits, members)
        torch.testing.assert_close(value, expected)
        (gradient,) = torch.autograd.grad(value, logits)
        assert gradient.isfinite().all()
        assert gradient[1, 1].abs().max() == gradient[2].abs().max() == 0
        assert term(logits, torch.zeros(3, 3, dtype=torch.bool)).item() == 0.0
        assert term(logits[:0]).item() == 0.0

    def test_forbidden_tokens_and_extreme_logits(self, term) -> None:
        logits = torch.tensor([[[0.0, -torch.inf, 1.0], [1e4, -torch.inf, -1e4]]], requires_grad=True)
        value = term(logits)
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()

    def test_half_precision_is_computed_in_float32(self, term) -> None:
        logits = random(3, 4, 6).bfloat16()
        assert term(logits).dtype == torch.float32
        torch.testing.assert_close(term(logits), term(logits.float()))


@pytest.mark.parametrize("term", [logit_gradient_variance, jensen_shannon])
def test_gradients(term) -> None:
    """Of those that hold nothing fixed."""
    members = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.autograd.gradcheck(lambda z: term(z, members), (random(2, 3, 4).requires_grad_(),))


class TestKlToMean:
    def test_value(self) -> None:
        p = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
        center = p.mean(0)
        expected = sum((center * (center / one).log()).sum() for one in p) / 2
        assert kl_to_mean(p.log()[None]).item() == pytest.approx(float(expected))

    def test_the_gradient_is_the_distance_from_the_consensus(self) -> None:
        logits = random(3, 4, 6).requires_grad_()
        members = torch.tensor([[True] * 4, [True, True, False, True], [False, True, False, False]])
        (gradient,) = torch.autograd.grad(kl_to_mean(logits, members), logits)
        for i, present in enumerate(([0, 1, 2, 3], [0, 1, 3])):
            p = logits[i, present].detach().softmax(-1)
            # Two positions have members to compare.
            torch.testing.assert_close(gradient[i, present], (p - p.mean(0)) / len(present) / 2)
        assert gradient[1, 2].abs().max() == gradient[2].abs().max() == 0

    def test_it_pulls_where_a_member_is_confidently_wrong(self) -> None:
        logits = torch.tensor([[[40.0, 0.0], [0.0, 40.0]]], requires_grad=True)
        (gradient,) = torch.autograd.grad(kl_to_mean(logits), logits)
        torch.testing.assert_close(gradient, torch.tensor([[[0.25, -0.25], [-0.25, 0.25]]]))
        (gradient,) = torch.autograd.grad(logit_gradient_variance(logits), logits)
        assert gradient.abs().max() < 1e-12


class TestHiddenCosine:
    def test_values(self) -> None:
        states = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]], dtype=torch.float64)
        # Distances of the pairs: 1, 2, 1.
        assert hidden_cosine(states).item() == pytest.approx(4 / 3)
        pair = torch.tensor([[True, False, True]])
        assert hidden_cosine(states, pair).item() == pytest.approx(2.0)
        assert hidden_cosine(states, torch.tensor([[True, False, False]])).item() == 0.0
        assert list(HIDDEN_CONSISTENCY) == ["hidden_cosine"]

    @settings(max_examples=25, deadline=None)
    @given(n=st.integers(1, 4), K=st.integers(2, 5), d=st.integers(1, 6), seed=st.integers(0, 999))
    def test_is_the_mean_over_pairs_and_sees_no_length(self, n: int, K: int, d: int, seed: int) -> None:
        states = random(n, K, d, seed=seed)
        similar = torch.nn.functional.cosine_similarity(states[:, :, None], states[:, None], dim=-1)
        expected = (1 - (similar.sum((1, 2)) - K) / (K * (K - 1))).mean()
        torch.testing.assert_close(hidden_cosine(states), expected)
        lengths = random(n, K, 1, seed=seed + 1).exp()
        torch.testing.assert_close(hidden_cosine(lengths * states), expected)
        order = torch.randperm(K, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(hidden_cosine(states[:, order]), expected)

    def test_gradients_and_absent_members(self) -> None:
        members = torch.tensor([[True, True, False], [True, True, True]])
        assert torch.autograd.gradcheck(lambda h: hidden_cosine(h, members), (random(2, 3, 4).requires_grad_(),))
        states = random(1, 3, 4)
        states[0, 2] = torch.nan
        states.requires_grad_()
        value = hidden_cosine(states, members[:1])
        (gradient,) = torch.autograd.grad(value, states)
        assert gradient.isfinite().all()
        torch.testing.assert_close(value, hidden_cosine(states[:, :2].detach()))
