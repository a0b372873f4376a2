from __future__ import annotations

import pytest
import torch
from torch import nn

from isograd.distill.optimizer import RawSecondMomentAdamW

SETTINGS = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}


def gradients(steps: int, *, seed: int) -> torch.Tensor:
    return torch.randn(steps, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))


def test_three_steps_by_hand() -> None:
    theta = parameter()
    optimizer = RawSecondMomentAdamW([theta], **SETTINGS)
    masked, raw = gradients(3, seed=1), gradients(3, seed=2)
    wanted, m, v = theta.detach().clone(), torch.zeros(5).double(), torch.zeros(5).double()
    for t in range(3):
        theta.grad, theta.raw_grad = masked[t].clone(), raw[t].clone()  # type: ignore[attr-defined]
        optimizer.step()
        m = 0.8 * m + (1 - 0.8) * masked[t]
        v = 0.95 * v + (1 - 0.95) * raw[t] ** 2
        direction = (m / (1 - 0.8 ** (t + 1))) / ((v / (1 - 0.95 ** (t + 1))) ** 0.5 + 1e-3)
        wanted = wanted - 0.03 * 0.1 * wanted - 0.03 * direction
        torch.testing.assert_close(theta.detach(), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("raw", ["none", "the gradient"])
def test_without_another_gradient_it_is_adamw(raw: str) -> None:
    ours, theirs = parameter(), parameter()
    optimizers = RawSecondMomentAdamW([ours], **SETTINGS), torch.optim.AdamW([theirs], **SETTINGS)
    for gradient in gradients(4, seed=3):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        if raw != "none":
            ours.raw_grad = gradient.clone()  # type: ignore[attr-defined]
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("unequal", [False, True])
def test_clipping_scales_both_moments(unequal: bool) -> None:
    """A clipped step is that of gradients which were smaller from the start; where both are equal, AdamW's."""
    sizes = (3, 2)
    ours, small, plain = ([nn.Parameter(part.detach().clone()) for part in parameter().split(sizes)] for _ in range(3))
    optimizers = [RawSecondMomentAdamW(ours, **SETTINGS), RawSecondMomentAdamW(small, **SETTINGS)]
    optimizers.append(torch.optim.AdamW(plain, **SETTINGS))
    factors = []
    for masked, other in zip(gradients(4, seed=4), gradients(4, seed=5), strict=True):
        raw = other if unequal else masked
        factors.append(min(1.0, 1.5 / (masked.norm().item() + 1e-6)))
        for i, (grad, before) in enumerate(zip(masked.split(sizes), raw.split(sizes), strict=True)):
            ours[i].grad, ours[i].raw_grad, ours[i].masked_norm = grad.clone(), before.clone(), grad.norm()  # type: ignore[attr-defined]
            small[i].grad, small[i].raw_grad = grad * factors[-1], before * factors[-1]  # type: ignore[attr-defined]
            plain[i].grad = grad * factors[-1]
        torch.nn.utils.clip_grad_norm_(ours, 1.5)
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(ours, small, rtol=1e-12, atol=1e-14)
        if not unequal:
            torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-14)
    assert min(factors) < 0.9
    assert max(factors) == 1.0


def test_gradients_of_zero_are_not_divided_by() -> None:
    theta = parameter()
    before = theta.detach().clone()
    optimizer = RawSecondMomentAdamW([theta], **{**SETTINGS, "weight_decay": 0.0})
    theta.grad, theta.raw_grad, theta.masked_norm = (  # type: ignore[attr-defined]
        torch.zeros(5).double(),
        gradients(1, seed=6)[0],
        torch.zeros(()).double(),
    )
    optimizer.step()
    assert torch.equal(theta.detach(), before)
    assert optimizer.state[theta]["exp_avg_sq"].count_nonzero() == 5
