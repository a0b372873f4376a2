"""The batched training runs: paired, independent of their neighbours, and each optimizer what it says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from isograd.lab.drift.rules import LADDER, MECHANISMS
from isograd.lab.drift.tasks import TASKS, make_task
from isograd.lab.drift.training import Arm, Batch, Setup, advantages_of, group_weights, simulate
from isograd.reinforce.diagnostics import cancellation, shared_nodes

EASY = make_task("easy", "", solutions=((0,), (1, 0)), letters=2, longest=2, openings=1, phrases=2, connectors=True)


def arms(*labels: str, rate: float = 0.1) -> list[Arm]:
    return [Arm(label, {**LADDER, **MECHANISMS}[label], rate) for label in labels]


def test_advantages_sum_to_zero_with_unit_deviation_or_vanish() -> None:
    found = advantages_of(torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[1.0, -1.0, -1.0, 1.0], [0.0] * 4], dtype=torch.float64))


def test_weights_of_a_group_do_not_depend_on_the_other_groups_of_the_call() -> None:
    generator = torch.Generator().manual_seed(0)
    ratio, old = (torch.randn(5, 4, 6, generator=generator, dtype=torch.float64) * 0.3 for _ in range(2))
    advantages = advantages_of(torch.randn(5, 4, generator=generator, dtype=torch.float64))
    mask = torch.arange(6) < torch.randint(1, 7, (5, 4, 1), generator=generator)
    for rule in {**LADDER, **MECHANISMS}.values():
        together = group_weights(rule, ratio, advantages, mask, old)
        alone = [group_weights(rule, *(x[i : i + 1] for x in (ratio, advantages, mask, old))) for i in range(5)]
        torch.testing.assert_close(together, torch.cat(alone))


def test_a_run_does_not_depend_on_its_neighbours() -> None:
    setup = Setup(steps=4, group=4, every=1)
    many = simulate(EASY, arms("GSPO", "DFPO-min", "DAPO"), [0, 7, 3], setup)
    one = simulate(EASY, arms("DFPO-min"), [7], setup)
    for measure in many.values:
        torch.testing.assert_close(many[measure][1, 1], one[measure][0, 0], rtol=1e-10, atol=1e-12)
    assert not torch.equal(many["reward"][1, 0], many["reward"][1, 1])


def test_rules_start_from_the_same_policy_and_see_the_same_first_rollout() -> None:
    seen: list[Batch] = []
    simulate(EASY, arms("GRPO", "GSPO"), [0, 1], Setup(steps=1, group=4), watch=lambda _, batch: seen.append(batch))
    first = seen[0].outputs.tokens
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0, 0], first[0, 1])
    assert seen[0].log_ratio.abs().max().item() == 0
    assert seen[3].log_ratio.abs().max().item() > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "normalized"])
def test_every_optimizer_learns_the_easy_task(optimizer: str) -> None:
    rate = {"sgd": 2.0, "adam": 0.1, "normalized": 0.2}[optimizer]
    curves = simulate(EASY, arms("GRPO", rate=rate), [0, 1], Setup(steps=40, optimizer=optimizer, every=10))  # type: ignore[arg-type]
    assert (curves["reward"][..., -1] > curves["reward"][..., 0] + 0.3).all()
    assert curves.steps == [0, 10, 20, 30, 40]
    assert (curves["template_drift"][..., 0] == 0).all()
    assert (curves["template_drift"][..., -1] > 0).all()


def test_a_normalized_step_has_the_norm_of_the_rate() -> None:
    seen: list[Tensor] = []
    setup = Setup(steps=3, group=8, minibatches=2, optimizer="normalized")
    simulate(EASY, arms("GRPO", rate=0.3), [0], setup, watch=lambda _, batch: seen.append(batch.probs[0, 0].log()))
    moves = []
    for before, after in pairwise(seen):
        allowed = EASY.policy.allowed
        change = (after - before).masked_fill(~allowed, 0)
        # Log-probabilities are logits up to a constant by row; the gradient's rows sum to zero.
        change = (change - change.sum(-1, keepdim=True) / allowed.sum(-1, keepdim=True)).masked_fill(~allowed, 0)
        moves.append(change.norm().item())
    assert len(moves) == 5
    assert all(move == pytest.approx(0.3) or move == pytest.approx(0, abs=1e-12) for move in moves)
    assert max(moves) > 0


def test_which_mechanisms_break_cancellation() -> None:
    task = TASKS["short"]
    seen: list[Batch] = []
    simulate(task, arms("GRPO"), range(4), Setup(steps=30, group=4), watch=lambda _, batch: seen.append(batch))
    last = [batch for batch in seen if batch.index == 3]
    outputs = [torch.cat([batch.outputs[part][0] for batch in last]) for part in range(3)]
    advantages, ratio, old = (
        torch.cat([getattr(batch, name)[0] for batch in last]) for name in ("advantages", "log_ratio", "old_logps")
    )
    nodes = shared_nodes(outputs[0], outputs[2])

    def residual(label: str) -> float:
        rule = {**LADDER, **MECHANISMS}[label]
        weights = group_weights(rule, ratio, advantages, outputs[2], old)
        return cancellation(advantages, weights, nodes)["residual"]

    # Tokens with the same past have the same ratio: by itself that cancels, and so does dropping them all or none.
    for label in ("token ratio alone", "symmetric clipping alone", "DFPO-min", "DFPO-orthogonal"):
        assert residual(label) <= 1e-12, label
    for label in ("length normalization alone", "sequence coupling alone", "GRPO", "GSPO", "GRPO-fix"):
        assert residual(label) > 1e-3, label


def test_noise_moves_rewards_and_leaves_the_expected_reward_alone() -> None:
    def rewards(noise: float) -> tuple[Tensor, Tensor]:
        seen: list[Batch] = []
        task = replace(EASY, noise=noise)
        curves = simulate(
            task, arms("GRPO", "GSPO"), [0, 1], Setup(steps=1, group=64), watch=lambda _, batch: seen.append(batch)
        )
        return seen[0].outputs.rewards, curves["reward"][..., 0]

    (plain, expected), (noisy, same) = rewards(0.0), rewards(0.5)
    assert torch.equal(expected, same)
    added = noisy - plain
    # The same judge for all rules, another one for each seed.
    assert torch.equal(added[0], added[1])
    assert not torch.equal(added[0, 0], added[0, 1])
    assert added.std().item() == pytest.approx(0.5, rel=0.2)
