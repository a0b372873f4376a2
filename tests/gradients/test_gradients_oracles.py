"""Our methods against torchjd's, and torchjd's weightings by their names."""

from __future__ import annotations

import json
import math
import random as stdlib_random
import re
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

AVAILABLE: dict[str, dict[str, Any]] = {
    "AlignedMTL": {},
    "CAGrad": {"c": 0.5},
    "Constant": {"weights": [0.1, 0.2, 0.3, 0.4]},
    "DualProj": {},
    "FairGrad": {"alpha": 1.0},
    "IMTLG": {},
    "Krum": {"n_byzantine": 1},
    "MGDA": {},
    "Mean": {},
    "PCGrad": {},
    "Random": {},
    "Sum": {},
    "UPGrad": {},
}


def gramian_of(K: int, rank: int, seed: int) -> Tensor:
    grads = normal(K, rank, seed=seed)
    return grads @ grads.mT


def of_tensor(weighting: str, **options: list[float]) -> Any:
    tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in options.items()}
    return getattr(aggregation, f"{weighting}Weighting")(**tensors)


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
        """Where torchjd is, its solver has to be too: an oracle that is skipped says nothing."""
        theirs = TorchJd("CAGrad", {"c": c, "norm_eps": 1e-9})
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
            ("Constant", {"weights": [0.1, 0.2, 0, 4]}, lambda: of_tensor("Constant", weights=[0.1, 0.2, 0, 4])),
            ("UPGrad", {"pref_vector": [1, 2, 3, 4]}, lambda: of_tensor("UPGrad", pref_vector=[1, 2, 3, 4])),
        ],
    )
    def test_is_torchjd(self, weighting: str, options: dict[str, Any], direct: Callable[[], Any]) -> None:
        method, gramian = TorchJd(weighting, options), gramian_of(4, 6, 0)
        before = gramian.clone()
        assert torch.equal(method.weights(gramian, stdlib_random.Random(0)), direct()(gramian))
        assert torch.equal(gramian, before)

    @pytest.mark.parametrize("weighting", ["UPGrad", "MGDA", "AlignedMTL", "Mean"])
    def test_weights_of_equal_domains_sum_to_one(self, weighting: str) -> None:
        found = TorchJd(weighting).weights(torch.ones(3, 3, dtype=torch.float64), stdlib_random.Random(0))
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
            ("Constant", {}, r"torchjd: Constant refuses its options \{\}: .*missing.*'weights'"),
            ("Constant", {"weights": [[1.0]]}, r"torchjd: Constant refuses its options .*: .* 1-dimensional tensor.*"),
            ("Constant", {"weights": ["a"]}, r"torchjd: Constant refuses its options .*"),
        ],
    )
    def test_mistakes(self, weighting: str, options: dict[str, Any], line: str) -> None:
        with pytest.raises(UserError, match=f"^{line}$") as caught:
            TorchJd(weighting, options)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("weighting", "options", "reason"),
        [
            ("Krum", {"n_byzantine": 2}, r"Parameter `gramian` should have at least 5 rows .*"),
            ("Constant", {"weights": [1.0, 2.0]}, r"Parameter `matrix` should have 2 rows .*"),
            ("AlignedMTL", {"scale_mode": "max"}, r"Invalid scale_mode='max'.*"),
            ("UPGrad", {"projector": "exact"}, r"'str' object is not callable"),
        ],
    )
    def test_mistakes_that_show_at_the_first_step(self, weighting: str, options: dict[str, Any], reason: str) -> None:
        method = TorchJd(weighting, options)
        line = rf"torchjd: {weighting} with the options {re.escape(str(options))} refuses 4 domains: {reason}"
        with pytest.raises(UserError, match=f"^{line}$") as caught:
            method.weights(gramian_of(4, 6, 0), stdlib_random.Random(0))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("weighting", list(AVAILABLE))
    def test_a_gradient_that_is_no_number_stays_visible(self, weighting: str, bad: float) -> None:
        gramian = gramian_of(4, 6, 0)
        gramian[1, 2] = gramian[2, 1] = bad
        found = TorchJd(weighting, AVAILABLE[weighting]).weights(gramian, stdlib_random.Random(0))
        assert found.shape == (4,)
        assert found.isnan().all()

    def test_all_that_is_said_to_be_there_can_be_made(self) -> None:
        """By options that a YAML file can hold."""
        with pytest.raises(UserError) as caught:
            TorchJd("?")
        assert sorted(AVAILABLE) == str(caught.value).split("there are: ")[1].split(", ")
        for weighting, options in AVAILABLE.items():
            assert json.loads(json.dumps(options)) == options
            found = TorchJd(weighting, options).weights(gramian_of(4, 6, 0), stdlib_random.Random(0))
            assert found.shape == (4,)
            assert found.isfinite().all()

    def test_without_torchjd(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "torchjd", None)
        with pytest.raises(UserError, match=r"^torchjd is not installed; pip install 'isograd\[torchjd\]'$"):
            TorchJd()
