"""What Fish's direction is to first order in its step size, on quadratics."""

from __future__ import annotations

import itertools

import pytest
import torch
from gradient_cases import normal
from torch import Tensor

from isograd.gradients import Fish


def direction(order: tuple[int, ...], start: Tensor, H: Tensor, c: Tensor, step: float) -> Tensor:
    """Algorithm 1 on ``L_k = x' H_k x / 2 + c_k' x``."""
    x = start
    for k in order:
        x = x - step * (H[k] @ x + c[k])
    return (start - x) / (len(order) * step)


@pytest.mark.parametrize("K", [1, 2, 3, 4])
def test_it_raises_the_inner_products_of_gradients(K: int) -> None:
    roots, c, x = normal(K, 5, 5), normal(K, 5, seed=1), normal(5, seed=2).requires_grad_()
    H = roots @ roots.mT
    grads = torch.einsum("kij,j->ki", H, x) + c
    products = sum((grads[j] @ grads[k] for j, k in itertools.combinations(range(K), 2)), 0 * x.sum())
    (slope,) = torch.autograd.grad(products, x, retain_graph=True)
    mean = grads.mean(0).detach()
    for step in (1e-4, 1e-5):
        orders = list(itertools.permutations(range(K)))
        with torch.no_grad():
            average = torch.stack([direction(order, x, H, c, step) for order in orders]).mean(0)
        expansion = mean - step / (2 * K) * slope
        assert (average - expansion).norm() < 1e5 * step**2
        if K > 1:
            assert (expansion - mean).norm() > 10 * (average - expansion).norm()


def test_equal_domains_are_plain_descent_as_the_step_goes_to_zero() -> None:
    root, c, x = normal(5, 5), normal(5, seed=1), normal(5, seed=2)
    H = (root @ root.mT).expand(3, 5, 5)
    exact = direction((0, 1, 2), x, H, c.expand(3, 5), 1e-7)
    torch.testing.assert_close(exact, H[0] @ x + c, rtol=1e-4, atol=1e-4)
    assert Fish().step_size == 0.01
    assert Fish().kind == "inner"
