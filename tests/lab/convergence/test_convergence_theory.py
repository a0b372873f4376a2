"""The statements of docs/theory/convergence.md on random input, and closed solutions against the simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from isograd.gradients import Iga, LayerContext, truncated_svd
from isograd.gradients.conflict import conflict_mask, moments, variance_of
from isograd.gradients.lowrank import LowRank
from isograd.lab.convergence.bias import Case, deviation, settled
from isograd.lab.convergence.law import standstill_flow
from isograd.lab.convergence.rules import NORMALIZATIONS, Arm, Rules, mask_of, truncate

SEED = st.integers(0, 10_000)
TAU = st.floats(0.0, 6.0)


def random_gradients(seed: int, K: int = 4, m: int = 3, n: int = 4) -> Tensor:
    """Domains that share a part of their gradient; some coordinates agree exactly, one has no gradient at all."""
    generator = torch.Generator().manual_seed(seed)
    shared, own = (torch.randn(*s, m, n, generator=generator, dtype=torch.float64) for s in ((1,), (K,)))
    scale = torch.rand(m, n, generator=generator, dtype=torch.float64).mul(8).sub(4).exp()
    own[:, 0, 0] = 0
    grads = (shared + own) * scale
    grads[:, 1, 1] = 0
    return grads


@given(SEED, TAU)
def test_a_mask_relative_to_the_mean_square_keeps_its_share_of_descent(seed: int, tau: float) -> None:
    parts = moments(random_gradients(seed))
    mask = conflict_mask(parts, tau, "mean_square")
    assert mask.min().item() >= math.exp(-tau) * (1 - 1e-12)
    g, D = parts.mean, mask * parts.mean
    size = g.square().sum().item()
    assert (g * D).sum().item() >= math.exp(-tau) * size * (1 - 1e-12)
    # A step 1/L cannot overshoot: |D|^2 <= <g, D>.
    assert D.square().sum().item() <= (g * D).sum().item() * (1 + 1e-12)


@given(SEED, TAU, st.sampled_from(NORMALIZATIONS))
def test_descent_is_at_least_that_of_the_mean_conflict(seed: int, tau: float, normalization: str) -> None:
    parts = moments(random_gradients(seed))
    V = -conflict_mask(parts, 1.0, normalization).log()  # type: ignore[arg-type]
    g = parts.mean
    weights = g.square() / g.square().sum()
    # An infinite V where the mask underflows makes the bound 0.
    mean = torch.where(weights > 0, weights * V, 0).sum().item()
    passed = (weights * conflict_mask(parts, tau, normalization)).sum().item()  # type: ignore[arg-type]
    assert passed >= math.exp(-tau * mean) * (1 - 1e-9) if tau else passed == pytest.approx(1)


@given(SEED, TAU)
def test_relative_to_the_squared_mean_the_total_variance_decides(seed: int, tau: float) -> None:
    parts = moments(random_gradients(seed))
    g = parts.mean
    size = g.square().sum().item()
    passed = (g.square() * conflict_mask(parts, tau, "mean_squared")).sum().item() / size
    assert passed >= math.exp(-tau * variance_of(parts).sum().item() / size) * (1 - 1e-9)


@given(SEED, st.integers(1, 4))
def test_truncation_keeps_at_least_its_share_of_the_rank(seed: int, rank: int) -> None:
    g = random_gradients(seed)[0]
    cut = truncated_svd(g, rank, method="exact").dense()
    kept, whole = cut.square().sum().item(), g.square().sum().item()
    assert (g * cut).sum().item() == pytest.approx(kept, rel=1e-9)
    assert whole * (1 + 1e-12) >= kept >= min(rank, 3) / 3 * whole * (1 - 1e-12)


@given(SEED, st.floats(0.0, math.log(1 + 2 * math.sqrt(1 / 3)) * 0.999))
def test_a_weak_mask_and_a_truncation_still_descend(seed: int, tau: float) -> None:
    iga = Iga(tau=tau, svd="exact", rank=1)
    grads = random_gradients(seed)
    cut = iga.project(iga.merge(grads), LayerContext(rank=1))
    assert isinstance(cut, LowRank)
    assert (grads.mean(0) * cut.dense()).sum().item() > 0


def test_a_strong_mask_and_a_truncation_climb_by_hand() -> None:
    g = torch.tensor([[1.0, 1.0], [1.0, -10.0]], dtype=torch.float64)
    spread = torch.zeros(2, 2, dtype=torch.float64)
    spread[1, 1] = 50
    grads = torch.stack([g + spread, g - spread])
    for tau, climbs in ((1.0, False), (5.0, True)):
        iga = Iga(tau=tau, svd="exact", rank=1)
        masked = iga.merge(grads)
        cut = iga.project(masked, LayerContext(rank=1))
        assert isinstance(cut, LowRank)
        assert (g * masked).sum().item() > 0
        assert ((g * cut.dense()).sum().item() < 0) is climbs


@given(SEED, TAU)
def test_the_expected_masked_gradient_descends_up_to_a_floor(seed: int, tau: float) -> None:
    # Noise of 50 equally likely draws, of any form; the expectation is their mean.
    generator = torch.Generator().manual_seed(seed)
    exact = torch.randn(4, 1, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(4, 50, 3, generator=generator, dtype=torch.float64).exp()
    noise = noise - noise.mean(1, keepdim=True)
    parts = moments(exact + noise, dims=2)
    expected = (conflict_mask(parts, tau, "mean_square") * parts.mean).mean(0)
    g = exact.mean(0)[0]
    variance = noise.mean(0).square().mean(0)
    least = math.exp(-tau)
    floor = (1 - math.sqrt(least)) ** 2 / 2 * variance.sum().item()
    assert (g * expected).sum().item() >= least / 2 * g.square().sum().item() - floor - 1e-12


@given(SEED, st.floats(0.1, 4.0))
def test_the_masked_flow_settles_within_the_bound(seed: int, tau: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    minima = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    minima = minima - minima.mean(0)
    noise = torch.randn(4, 2, 64, generator=generator, dtype=torch.float64).exp()
    noise = noise - noise.mean(-1, keepdim=True)
    w = settled(minima, noise, tau)
    assert (w.abs() <= math.sinh(tau / 2) * deviation(noise)).all()
    parts = moments(w[:, None] - minima[:, :, None] + noise, dims=2)
    left = (conflict_mask(parts, tau, "mean_square") * parts.mean).mean(-1)
    assert (left.abs() <= 1e-6 * deviation(noise)).all()


def test_two_domains_with_equal_noise_have_no_bias_and_with_unequal_noise_do() -> None:
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(2, 1, 500, generator=generator, dtype=torch.float64)
    minima = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    # The noise and its image under the exchange of the domains with a change of sign.
    equal = torch.cat([half, -half.flip(0)], -1)
    equal = torch.cat([equal, -equal], -1)
    assert settled(minima, equal, 1.0).abs().item() <= 1e-6
    scaled = torch.cat([half, -half], -1) * torch.tensor([[[2.0]], [[0.5]]], dtype=torch.float64)
    assert settled(minima, scaled, 1.0).abs().item() > 0.05
    assert Case(2).noise == "equal"


def test_the_standstill_follows_the_exponential_integral() -> None:
    start, spread, step, tau = 2.0, 0.7, 0.01, 1.0
    w = torch.tensor([[start]], dtype=torch.float64)
    minima = torch.tensor([[[-1.0]], [[1.0]]], dtype=torch.float64) * math.sqrt(spread)
    for _ in range(2000):
        parts = moments(w - minima)
        w = w - step * conflict_mask(parts, tau, "mean_squared") * parts.mean
    flow = standstill_flow(np.array([start**2]), np.array([tau * spread]), np.array([20.0]))
    assert w.square().item() == pytest.approx(flow[0, 0], rel=5e-3)
    # Ei(1) and Ei(2): from s = 1 to s = 2 in half their difference.
    time = (4.9542343560 - 1.8951178164) / 2
    half = standstill_flow(np.array([1.0]), np.array([1.0]), np.array([time]))
    assert half[0, 0] == pytest.approx(0.5, rel=1e-6)


def test_the_batched_masks_and_truncations_are_those_of_the_library() -> None:
    arms = [Arm("SGD"), *(Arm(f"{name} {tau}", tau, name) for name in NORMALIZATIONS for tau in (0.3, 2.0))]
    arms.append(Arm("cut", 2.0, rank=2))
    grads = torch.stack(
        [torch.stack([random_gradients(seed + 9 * arm) for arm in range(len(arms))]) for seed in (1, 2)]
    )
    found, _ = Rules(arms)(grads.permute(2, 0, 1, 3, 4))
    for seed in range(2):
        for place, arm in enumerate(arms):
            iga = Iga(tau=arm.tau, normalization=arm.normalization, svd="exact" if arm.rank else "none", rank=arm.rank)
            context = LayerContext(rank=2)
            wanted = iga.project(iga.merge_layer(grads[seed, place], context), context)
            dense = wanted.dense() if isinstance(wanted, LowRank) else wanted
            torch.testing.assert_close(found[seed, place], dense, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(truncate(grads[0, 0], 1)[2], truncated_svd(grads[0, 0, 2], 1, method="exact").dense())


def test_tau_0_is_the_mean_bit_for_bit() -> None:
    grads = random_gradients(3)[:, None, None]
    direction, mask = Rules([Arm("SGD")])(grads)
    assert torch.equal(direction, grads.mean(0))
    assert torch.equal(mask, torch.ones_like(mask))
    for name in NORMALIZATIONS:
        assert torch.equal(mask_of(moments(grads, dims=4), torch.zeros(1, dtype=torch.float64), name), mask)
