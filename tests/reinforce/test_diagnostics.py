"""Cancellation, learning tax and drift on groups that can be counted by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isograd.reinforce.diagnostics import (
    cancellation,
    drift,
    learning_tax,
    shared_nodes,
)
from isograd.reinforce.weights import advantage_orthogonal, min_replace

IDS = torch.tensor([[[5, 6, 7, 0], [5, 6, 8, 9], [5, 6, 7, 9], [5, 3, 7, 9]]])
MASK = torch.tensor([[[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]]]).bool()
ADVANTAGES = torch.tensor([[1.0, 1.0, -1.0, -1.0]], dtype=torch.float64)


def test_nodes_of_the_prefix_tree() -> None:
    assert shared_nodes(IDS, MASK).tolist() == [[[0, 0, 0, -1], [0, 0, 1, 1], [0, 0, 0, 2], [0, 3, 3, -1]]]


def test_nodes_do_not_cross_groups_and_padding_is_no_token() -> None:
    ids = torch.zeros(2, 2, 3, dtype=torch.long)
    mask = torch.tensor([[[1, 1, 0], [1, 1, 1]], [[1, 0, 0], [0, 0, 0]]]).bool()
    assert shared_nodes(ids, mask).tolist() == [[[0, 0, -1], [0, 0, 1]], [[0, -1, -1], [-1, -1, -1]]]


def test_cancellation_by_hand() -> None:
    nodes = shared_nodes(IDS, MASK)
    weights = torch.ones(1, 4, 4, dtype=torch.float64)
    weights[0, 0] = 2
    found = cancellation(ADVANTAGES, weights, nodes)
    # The first token: pushed by 2 + 1 - 1 - 1 of 5.
    assert found["residual"] == pytest.approx(1 / 5)
    # 6 after 5: 2 + 1 - 1 of 4, three sharers; 7 after 5, 6: 2 - 1 of 3, two sharers.
    assert found["residual_any"] == pytest.approx((4 * 1 / 5 + 3 * 2 / 4 + 2 * 1 / 3) / 9)
    assert found["shared"] == pytest.approx(9 / 14)


def test_the_repairs_have_no_residual() -> None:
    generator = torch.Generator().manual_seed(0)
    nodes = shared_nodes(IDS, MASK)
    by_completion = torch.rand(1, 4, generator=generator, dtype=torch.float64)
    for weights in (min_replace(by_completion), advantage_orthogonal(by_completion, ADVANTAGES)):
        assert cancellation(ADVANTAGES, weights[..., None].expand(1, 4, 4), nodes)["residual"] <= 1e-15
    plain = cancellation(ADVANTAGES, by_completion[..., None].expand(1, 4, 4), nodes)
    assert plain["residual"] > 0.01


def test_a_completion_that_is_masked_out_hides_no_residual() -> None:
    """Without the first completion the others' advantages sum to -1, and equal weights no longer cancel."""
    mask = MASK.clone()
    mask[0, 0] = False
    nodes = shared_nodes(IDS, mask)
    weights = min_replace(torch.ones(1, 4, 4, dtype=torch.float64), mask)
    found = cancellation(ADVANTAGES, weights, nodes)
    assert found["residual"] == pytest.approx(1 / 3)
    tax = learning_tax(ADVANTAGES, weights, nodes, torch.full_like(weights, -1.0), torch.zeros_like(weights))
    # Of the pushes by node only the first token's is all three's: 1 of 1 + 1 + 1 + 1 + ... (5; 5 6, 5 3; and so on).
    assert 0 < tax["norm"] < 0.5
    alone = torch.zeros_like(mask)
    alone[0, 1] = True
    assert math.isnan(cancellation(ADVANTAGES, weights, shared_nodes(IDS, alone))["residual"])


def test_nothing_shared_and_nothing_pushed() -> None:
    ids = torch.arange(8).reshape(1, 2, 4)
    nodes = shared_nodes(ids, torch.ones_like(ids, dtype=torch.bool))
    found = cancellation(torch.tensor([[1.0, -1.0]]), torch.ones(1, 2, 4), nodes)
    assert found["shared"] == 0
    assert math.isnan(found["residual"])
    assert math.isnan(found["residual_any"])
    same = shared_nodes(torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool))
    assert math.isnan(cancellation(torch.zeros(1, 2), torch.ones(1, 2, 4), same)["residual"])


def test_learning_tax_by_hand() -> None:
    nodes = shared_nodes(IDS, MASK)
    weights = torch.ones(1, 4, 4, dtype=torch.float64)
    weights[0, 0] = 2
    half = torch.full((1, 4, 4), math.log(0.5), dtype=torch.float64)
    moved = torch.zeros(1, 4, 4, dtype=torch.float64)
    moved[0, :, 0] = 0.2
    moved[0, 1, 3] = -0.3
    moved[~MASK] = torch.nan
    found = learning_tax(ADVANTAGES, weights, nodes, half, moved)
    # Pushes by node: 5: 1; 5 6: 2; six more of 1 or -1. Only 5 is shared by all.
    assert found["norm"] == pytest.approx(1 / (1 + 4 + 6))

    def estimate(value: float) -> float:
        return math.exp(value) - 1 - value

    assert found["kl"] == pytest.approx(4 * estimate(0.2) / (4 * estimate(0.2) + estimate(-0.3)))
    assert math.isnan(learning_tax(0 * ADVANTAGES, weights, nodes, half, 0 * moved)["norm"])


def test_the_tax_is_that_of_a_tabular_policy() -> None:
    """In the logits of the sampled tokens, of a policy with logits of its own in every context."""
    generator = torch.Generator().manual_seed(1)
    contexts: dict[tuple[int, ...], Tensor] = {}

    def logits(prefix: tuple[int, ...]) -> Tensor:
        if prefix not in contexts:
            contexts[prefix] = torch.randn(10, generator=generator, dtype=torch.float64).requires_grad_()
        return contexts[prefix]

    weights = torch.rand(1, 4, 4, generator=generator, dtype=torch.float64)
    logps = torch.zeros(1, 4, 4, dtype=torch.float64)
    objective = torch.zeros((), dtype=torch.float64)
    for i in range(4):
        for t in range(int(MASK[0, i].sum())):
            prefix = tuple(IDS[0, i, :t].tolist())
            value = logits(prefix).log_softmax(-1)[IDS[0, i, t]]
            logps[0, i, t] = value.detach()
            objective = objective + ADVANTAGES[0, i] * weights[0, i, t] * value
    objective.backward()
    pushes = {}
    for i in range(4):
        for t in range(int(MASK[0, i].sum())):
            node = tuple(IDS[0, i, : t + 1].tolist())
            # The part of the gradient that this token causes on its own logit.
            sharers = [j for j in range(4) if MASK[0, j, t] and tuple(IDS[0, j, : t + 1].tolist()) == node]
            push = sum((ADVANTAGES[0, j] * weights[0, j, t]).item() for j in sharers)
            pushes[node] = ((1 - logps[0, i, t].exp()).item() * push) ** 2
    found = learning_tax(ADVANTAGES, weights, shared_nodes(IDS, MASK), logps, torch.zeros_like(logps))
    assert found["norm"] == pytest.approx(pushes[5,] / sum(pushes.values()))
    # The first token's context has no other token: there it is the whole gradient of that logit.
    grad = contexts[()].grad
    assert grad is not None
    assert grad[5].item() ** 2 == pytest.approx(pushes[5,])


def test_drift_by_hand() -> None:
    moved = torch.tensor([[[0.1, 0.2], [0.5, torch.nan], [0.0, 0.0], [1.0, 1.0]]])
    mask = torch.tensor([[[1, 1], [1, 0], [1, 1], [1, 1]]]).bool()
    # Pairs of equal advantage: (.3, .5) and (0, 2).
    assert drift(ADVANTAGES, moved, mask) == pytest.approx((0.2 + 2.0) / 2)
    assert math.isnan(drift(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), moved, mask))
