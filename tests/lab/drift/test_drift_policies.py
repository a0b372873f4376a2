"""Every exact quantity against enumeration of all outputs and automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isograd.lab.drift.policies import Outputs, Policy, score_sum
from isograd.lab.drift.tasks import Task, make_task, table_policy

BIGRAM = make_task("b", "", solutions=((0,), (1, 0)), letters=2, longest=3, openings=1, phrases=2, connectors=True)
TREE = make_task("t", "", solutions=((0,), (1, 0)), letters=2, longest=2, openings=1, phrases=2, tree=True, dense=True)
BOTH = pytest.mark.parametrize("task", [BIGRAM, TREE], ids=["bigram", "tree"])


def log_chances(policy: Policy, logits: Tensor, outputs: Outputs) -> Tensor:
    """log pi(y) of each output, token by token."""
    log_probs = policy.log_probs(logits)
    return torch.where(outputs.mask, log_probs[outputs.rows, outputs.tokens], 0).sum(-1)


def start(task: Task, seed: int = 3) -> Tensor:
    return task.start(seed) + 0.3 * task.start(seed + 1)


@BOTH
def test_reward_entropy_and_divergence_are_those_of_the_enumerated_outputs(task: Task) -> None:
    policy, theta, other = task.policy, start(task), start(task, 8)
    outputs = policy.enumerate()
    log_p, log_q = log_chances(policy, theta, outputs), log_chances(policy, other, outputs)
    p = log_p.exp()
    now, new = policy.log_probs(theta), policy.log_probs(other)
    assert p.sum().item() == pytest.approx(1)
    assert policy.expected_reward(now.exp()).item() == pytest.approx((p * outputs.rewards).sum().item())
    assert policy.entropy(now).item() == pytest.approx(-(p * log_p).sum().item())
    assert policy.divergence(now, new).item() == pytest.approx((p * (log_p - log_q)).sum().item())
    reads = torch.zeros(len(policy.rows), dtype=torch.float64)
    reads.index_add_(0, outputs.rows[outputs.mask], p[:, None].expand(outputs.mask.shape)[outputs.mask])
    torch.testing.assert_close(policy.visits(now.exp()), reads)


@BOTH
def test_fisher_is_the_second_moment_of_the_score_and_the_curvature_of_the_divergence(task: Task) -> None:
    policy, theta = task.policy, start(task)
    outputs = policy.enumerate()
    scores = torch.autograd.functional.jacobian(lambda at: log_chances(policy, at, outputs), theta).flatten(1)
    chances = log_chances(policy, theta, outputs).exp()
    fisher = policy.fisher(policy.log_probs(theta).exp())
    torch.testing.assert_close(fisher, torch.einsum("n,ni,nj->ij", chances, scores, scores))
    fixed = policy.log_probs(theta)
    curved = torch.autograd.functional.hessian(lambda at: policy.divergence(fixed, policy.log_probs(at)), theta)
    torch.testing.assert_close(fisher, curved.reshape(fisher.shape))


@BOTH
def test_score_sum_is_the_gradient_of_weighted_log_probabilities(task: Task) -> None:
    policy, theta = task.policy, start(task).requires_grad_()
    outputs = policy.enumerate()
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(outputs.tokens.shape, generator=generator, dtype=torch.float64)
    log_probs = policy.log_probs(theta)
    chosen = torch.where(outputs.mask, log_probs[outputs.rows, outputs.tokens], 0)
    (expected,) = torch.autograd.grad((chosen * coefficients).sum(), theta)
    batch = Outputs(*(value[None] for value in outputs))
    torch.testing.assert_close(score_sum(log_probs.exp().detach()[None], batch, coefficients[None])[0], expected)


@BOTH
def test_samples_have_the_exact_frequencies(task: Task) -> None:
    policy, theta = task.policy, start(task)
    outputs = policy.enumerate()
    chances = log_chances(policy, theta, outputs).exp()
    draws = 40_000
    uniforms = torch.rand(1, draws, policy.longest, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sampled = policy.sample(policy.log_probs(theta).exp()[None], uniforms)

    def names(of: Outputs) -> list[tuple[int, ...]]:
        tokens = torch.where(of.mask, of.tokens, -1).reshape(-1, policy.longest)
        return [tuple(row) for row in tokens.tolist()]

    place = {name: number for number, name in enumerate(names(outputs))}
    found = torch.tensor([place[name] for name in names(sampled)])
    counts = torch.bincount(found, minlength=len(place)).double()
    # Five standard deviations, for each of the outputs.
    assert ((counts - draws * chances).abs() <= 5 * (draws * chances * (1 - chances)).sqrt() + 1).all()
    torch.testing.assert_close(sampled.rewards[0], outputs.rewards[found])


def test_a_bigram_shares_rows_and_a_tree_does_not() -> None:
    assert sorted(BIGRAM.policy.rows) == ["after 0", "after 1", "connector", "first letter", "opening 0"]
    assert len(TREE.policy.rows) == 1 + 1 + 2
    # The connector stands before each of up to three letters.
    reads = BIGRAM.policy.visits(BIGRAM.policy.log_probs(start(BIGRAM)).exp())
    assert reads[BIGRAM.policy.rows.index("connector")].item() > 1


@BOTH
def test_template_rows_have_no_part_in_the_expected_reward(task: Task) -> None:
    theta = start(task).requires_grad_()
    (gradient,) = torch.autograd.grad(task.policy.expected_reward(task.policy.log_probs(theta).exp()), theta)
    assert gradient[task.template].abs().max().item() <= 1e-15
    assert gradient[~task.template].abs().max().item() > 1e-3


def test_solutions_and_dense_rewards_by_hand() -> None:
    outputs = TREE.policy.enumerate()
    earned = {
        tuple(tokens[1:length].tolist()): reward
        for tokens, length, reward in zip(outputs.tokens, outputs.mask.sum(-1), outputs.rewards.tolist(), strict=True)
    }
    # Token 2 ends. Of (0, end) one of two is right, of (1, 0) likewise.
    assert earned == {
        (2,): 0.0,
        (0, 0): 0.5,
        (0, 1): 0.5,
        (0, 2): 1.0,
        (1, 0): 1.0,
        (1, 1): 0.5,
        (1, 2): 0.5,
    }
    theta = torch.zeros(TREE.policy.allowed.shape, dtype=torch.float64)
    chances = TREE.policy.solutions(TREE.policy.log_probs(theta).exp())
    torch.testing.assert_close(chances, torch.tensor([1 / 9, 1 / 9], dtype=torch.float64))


def test_a_table_is_one_softmax() -> None:
    policy = table_policy((0.0, 1.0, 1.0))
    probs = policy.log_probs(torch.tensor([[math.log(5), math.log(3), math.log(2)]], dtype=torch.float64)).exp()
    assert policy.expected_reward(probs).item() == pytest.approx(0.5)
    torch.testing.assert_close(policy.solutions(probs), torch.tensor([0.3, 0.2], dtype=torch.float64))
