"""AND-mask and SAND-mask, by hand and against their equations in loops."""

from __future__ import annotations

import math

import pytest
import torch
from gradient_cases import merged, normal
from torch import Tensor

from isograd.gradients import AndMask, SandMask


def column(*values: list[float]) -> Tensor:
    """K gradients of a layer with one row."""
    return torch.tensor(values, dtype=torch.float64)[:, None, :]


class TestAndMask:
    # Three domains; coordinates with 3 of 3, 2 of 3 (mean sign 1/3), and no signs.
    GRADS = column([3.0, 3.0, 0.0, -2.0], [1.0, 2.0, 0.0, -1.0], [2.0, -1.0, 0.0, -3.0])

    @pytest.mark.parametrize(
        ("tau", "rescale", "expected"),
        [
            (1.0, False, [2.0, 0.0, 0.0, -2.0]),
            (1.0, True, [4.0, 0.0, 0.0, -4.0]),  # half of the layer is kept
            (0.34, True, [4.0, 0.0, 0.0, -4.0]),
            (1 / 3, False, [2.0, 4 / 3, 0.0, -2.0]),  # the mean sign is exactly at the threshold
            (1 / 3, True, [8 / 3, 16 / 9, 0.0, -8 / 3]),  # a coordinate without gradient counts as masked
            (0.0, False, [2.0, 4 / 3, 0.0, -2.0]),
        ],
    )
    def test_values(self, tau: float, rescale: bool, expected: list[float]) -> None:
        direction = merged(AndMask(tau=tau, rescale=rescale), self.GRADS)
        torch.testing.assert_close(direction, torch.tensor([expected], dtype=torch.float64))

    def test_no_agreement_at_all_is_no_step(self) -> None:
        assert torch.equal(merged(AndMask(), column([1.0, -2.0], [-1.0, 2.0])), torch.zeros(1, 2).double())

    def test_a_zero_among_signs_is_no_agreement(self) -> None:
        assert merged(AndMask(rescale=False), column([1.0, 1.0], [0.0, 1.0])).tolist() == [[0.0, 1.0]]

    @pytest.mark.parametrize("K", range(1, 8))
    def test_thresholds_that_are_fractions_are_met(self, K: int) -> None:
        """j/K as tau keeps j/K, whatever the rounding, in either precision."""
        for opposed in range(K // 2 + 1):
            grads = torch.ones(K, 1, 1)
            grads[:opposed] = -1
            for dtype in (torch.float32, torch.float64):
                direction = merged(AndMask(tau=(K - 2 * opposed) / K, rescale=False), grads.to(dtype))
                assert direction.item() == pytest.approx((K - 2 * opposed) / K, abs=1e-6)

    def test_only_rescaling_needs_the_layer(self) -> None:
        assert AndMask().whole_layer
        assert not AndMask(rescale=False).whole_layer


class TestSandMask:
    def test_values(self) -> None:
        # Agreement 1, sample variance 0.5, then 1; then opposition.
        grads = column([1.0, 1.0, 1.0], [2.0, 1 + math.sqrt(2), -1.0])
        steep = [math.tanh(0.3 / 0.5 * 0.5), math.tanh(0.3 / 1.0 * 0.5), 0.0]
        mean = [1.5, 1 + math.sqrt(2) / 2, 0.0]
        share = sum(steep) / 3
        expected = [[g * m / share for g, m in zip(mean, steep, strict=True)]]
        direction = merged(SandMask(tau=0.5, k=0.3, relative=False), grads)
        torch.testing.assert_close(direction, torch.tensor(expected, dtype=torch.float64))

    @pytest.mark.parametrize("relative", [True, False])
    @pytest.mark.parametrize("tau", [0.0, 0.2, 0.5])
    def test_the_equations_in_loops(self, relative: bool, tau: float) -> None:
        K, n, k = 5, 30, 0.4
        grads = normal(K, 1, n)
        size = grads.square().mean().item() if relative else 1.0
        masks, means = [], []
        for j in range(n):
            own = grads[:, 0, j].tolist()
            g = sum(own) / K
            v = sum((x - g) ** 2 for x in own) / (K - 1) / size
            a = abs(sum(math.copysign(1, x) for x in own) / K)
            masks.append(max(0.0, math.tanh(k / v * (a - tau))))
            means.append(g)
        share = sum(masks) / n
        expected = [[m * g / share for m, g in zip(masks, means, strict=True)]]
        direction = merged(SandMask(tau=tau, k=k, relative=relative), grads)
        torch.testing.assert_close(direction, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-11)

    def test_the_step_is_the_and_mask_where_it_is_steep(self) -> None:
        grads = normal(3, 4, 5)
        sharp = merged(SandMask(tau=0.5, k=1e9), grads)
        torch.testing.assert_close(sharp, merged(AndMask(tau=0.9), grads), rtol=1e-6, atol=1e-9)

    def test_no_variance_is_the_limit(self) -> None:
        grads = column([1.0, 0.0, 2.0], [1.0, 0.0, -2.0])  # sure agreement, nothing, sure opposition
        torch.testing.assert_close(merged(SandMask(), grads), torch.tensor([[3.0, 0.0, 0.0]], dtype=torch.float64))

    def test_it_needs_the_layer(self) -> None:
        assert SandMask().whole_layer
        assert SandMask(relative=False).whole_layer
