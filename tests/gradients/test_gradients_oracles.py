"""Our methods against torchjd's, and torchjd's weightings by their names."""

from __future__ import annotations

import random as stdlib_random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gradient_cases import Fixed, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.common.errors import UserError
from isograd.gradients import CAGrad, Mgda, PCGrad, TorchJd

aggregation: Any = pytest.importorskip("torchjd.aggregation", reason="needs the extra isograd[torchjd]")

seeds = st.integers(0, 999)


def made(weighting: str, **options: Any) -> TorchJd:
    """A weighting, if the packages that it wants are there."""
    try:
        return TorchJd(weighting, options)
    except UserError as error:
        if "to be installed" in str(error):
            pytest.skip(str(error))
        raise


def gramian_of(K: int, rank: int, seed: int) -> Tensor:
    grads = normal(K, rank, seed=seed)
    return grads @ grads.mT


class TestOurs:
    @settings(max_examples=30)
    @given(rank=st.integers(1, 4), seed=seeds)
    def test_pcgrad_of_two(self, rank: int, seed: int) -> None:
        gramian = gramian_of(2, rank, seed)
        expected = aggregation.PCGradWeighting()(gramian) / 2
        torch.testing.assert_close(PCGrad().weights(gramian, stdlib_random.Random(0)), expected)

    @pytest.mark.parametrize("K", [3, 4, 6])
    @pytest.mark.parametrize("seed", range(4))
    def test_pcgrad_in_one_order(self, K: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        gramian = gramian_of(K, 4, seed)
        order = torch.randperm(K, generator=torch.Generator().manual_seed(seed))
        monkeypatch.setattr(torch, "randperm", lambda n: order)
        expected = aggregation.PCGradWeighting()(gramian) / K
        found = PCGrad().weights(gramian, Fixed(order.tolist()))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize("K", [2, 3, 5])
    def test_mgda_after_many_iterations(self, K: int) -> None:
        theirs = aggregation.MGDAWeighting(epsilon=1e-12, max_iters=3000)
        for seed in range(4):
            gramian = gramian_of(K, 6, seed)
            a, b = Mgda().weights(gramian, stdlib_random.Random(0)), theirs(gramian)
            best = a @ gramian @ a
            assert best <= b @ gramian @ b + 1e-12
            assert best.item() == pytest.approx((b @ gramian @ b).item(), rel=2e-2)  # Frank-Wolfe is slow

    @pytest.mark.parametrize("K", [2, 3, 5])
    @pytest.mark.parametrize("c", [0.2, 0.5, 0.9])
    def test_cagrad(self, K: int, c: float) -> None:
        theirs = made("CAGrad", c=c, norm_eps=1e-9)
        for seed in range(4):
            gramian = gramian_of(K, 6, seed)
            expected = theirs.weights(gramian, stdlib_random.Random(0)) / (1 + c)
            found = CAGrad(c=c).weights(gramian, stdlib_random.Random(0))
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


class TestByName:
    @pytest.mark.parametrize(
        ("weighting", "options", "direct"),
        [
            ("UPGrad", {}, lambda: aggregation.UPGradWeighting()),
            ("DualProj", {}, lambda: aggregation.DualProjWeighting()),
            ("MGDA", {"max_iters": 5}, lambda: aggregation.MGDAWeighting(max_iters=5)),
            ("AlignedMTL", {}, lambda: aggregation.AlignedMTLWeighting()),
            ("IMTLG", {}, lambda: aggregation.IMTLGWeighting()),
            ("Mean", {}, lambda: aggregation.MeanWeighting()),
            ("Sum", {}, lambda: aggregation.SumWeighting()),
        ],
    )
    def test_is_torchjd(self, weighting: str, options: dict[str, Any], direct: Callable[[], Any]) -> None:
        method, gramian = made(weighting, **options), gramian_of(4, 6, 0)
        before = gramian.clone()
        assert torch.equal(method.weights(gramian, stdlib_random.Random(0)), direct()(gramian))
        assert torch.equal(gramian, before)

    @pytest.mark.parametrize("weighting", ["UPGrad", "MGDA", "AlignedMTL", "Mean"])
    def test_weights_of_equal_domains_sum_to_one(self, weighting: str) -> None:
        found = made(weighting).weights(torch.ones(3, 3, dtype=torch.float64), stdlib_random.Random(0))
        assert found.sum().item() == pytest.approx(1.0, abs=1e-3)  # a solver's tolerance

    @pytest.mark.parametrize("weighting", ["PCGrad", "Random"])
    def test_random_draws_are_named_and_leave_no_trace(self, weighting: str) -> None:
        method, gramian = TorchJd(weighting), gramian_of(6, 3, 0)
        state = torch.get_rng_state()
        found = [method.weights(gramian, stdlib_random.Random(seed)) for seed in (1, 1, 2)]
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])

    @pytest.mark.parametrize(
        ("weighting", "options", "line"),
        [
            ("UPgrad", {}, r"torchjd: no weighting 'UPgrad'; there are: AlignedMTL, CAGrad, .*Mean.* UPGrad"),
            ("", {}, r"torchjd: no weighting ''; there are: AlignedMTL, .*"),
            ("GradVac", {}, r"torchjd: no weighting 'GradVac'; .*"),  # remembers
            ("SDMGrad", {}, r"torchjd: no weighting 'SDMGrad'; .*"),  # needs the gradients themselves
            ("MGDA", {"epsilon": -1}, r"torchjd: MGDA refuses its options \{'epsilon': -1\}: epsilon must be .*"),
            ("MGDA", {"eps": 1}, r"torchjd: MGDA refuses its options \{'eps': 1\}: .*unexpected keyword.*"),
            ("CAGrad", {}, r"torchjd: CAGrad refuses its options \{\}: .*missing.*'c'"),
        ],
    )
    def test_mistakes(self, weighting: str, options: dict[str, Any], line: str) -> None:
        with pytest.raises(UserError, match=f"^{line}$") as caught:
            TorchJd(weighting, options)
        assert "\n" not in str(caught.value)

    def test_without_torchjd(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "torchjd", None)
        with pytest.raises(UserError, match=r"^torchjd is not installed; pip install 'isograd\[torchjd\]'$"):
            TorchJd()
