"""Effective token weights against autograd of each published objective, and what cancels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from isograd.reinforce.weights import (
    METHODS,
    TokenWeights,
    advantage_orthogonal,
    dynamic_bounds,
    importance_ratio,
    kept,
    min_replace,
)

N, G, T, V = 3, 5, 7, 11


class Batch:
    """Random groups of a tabular policy that has moved away from the one that sampled: ratios on both sides of 1."""

    def __init__(self, seed: int, *, spread: float = 0.4) -> None:
        rng = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng, dtype=torch.float64)

        self.logits = normal(N, G, T, V).requires_grad_()
        ids = torch.randint(V, (N, G, T, 1), generator=rng)
        old = self.logits.detach() + spread * normal(N, G, T, V)
        self.logps = self.logits.log_softmax(-1).gather(-1, ids).squeeze(-1)
        self.old_logps = old.log_softmax(-1).gather(-1, ids).squeeze(-1)
        lengths = torch.randint(1, T + 1, (N, G, 1), generator=rng)
        lengths[0, 0] = T
        self.mask = torch.arange(T) < lengths
        rewards = normal(N, G)
        self.advantages = rewards - rewards.mean(1, keepdim=True)
        self.segments = torch.arange(T).div(3, rounding_mode="floor").expand(N, G, T)
        self.log_ratio = torch.where(self.mask, self.logps - self.old_logps, torch.nan)

    def weights(self, rule: TokenWeights) -> Tensor:
        return rule(
            self.log_ratio,
            self.advantages,
            self.mask,
            old_logps=self.old_logps,
            segments=self.segments,
            longest=T + 2,
        )

    def gradient(self, objective: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(objective, self.logits, retain_graph=True)
        return gradient

    def surrogate(self, weights: Tensor) -> Tensor:
        return (self.advantages[..., None] * weights * self.logps).sum()


# -- the objectives, as their papers write them ------------------------------------------------------------------------


def clipped(ratio: Tensor, advantage: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    least = 1 - low if isinstance(low, float) else low
    largest = 1 + high if isinstance(high, float) else high
    cut = torch.minimum(torch.maximum(ratio, torch.as_tensor(least)), torch.as_tensor(largest))
    return torch.minimum(ratio * advantage, cut * advantage)


def mean_of_means(batch: Batch, terms: Tensor) -> Tensor:
    inside = terms.masked_fill(~batch.mask, 0).sum(-1) / batch.mask.sum(-1)
    return inside.mean()


def mean_over_tokens(batch: Batch, terms: Tensor) -> Tensor:
    return terms[batch.mask].sum() / batch.mask.sum()


def ratio(batch: Batch) -> Tensor:
    return (batch.logps - batch.old_logps).exp()


def sequence_ratio(batch: Batch) -> Tensor:
    logs = (batch.logps - batch.old_logps).masked_fill(~batch.mask, 0)
    return (logs.sum(-1) / batch.mask.sum(-1)).exp()


def by_token(batch: Batch) -> Tensor:
    return batch.advantages[..., None]


def grpo(batch: Batch) -> Tensor:
    return mean_of_means(batch, clipped(ratio(batch), by_token(batch), 0.2, 0.2))


def dr_grpo(batch: Batch) -> Tensor:
    terms = clipped(ratio(batch), by_token(batch), 0.2, 0.2)
    return terms[batch.mask].sum() / (N * G * (T + 2))


def dapo(batch: Batch) -> Tensor:
    return mean_over_tokens(batch, clipped(ratio(batch), by_token(batch), 0.2, 0.28))


def bnpo(batch: Batch) -> Tensor:
    return mean_over_tokens(batch, clipped(ratio(batch), by_token(batch), 0.2, 0.2))


def gspo(batch: Batch) -> Tensor:
    return clipped(sequence_ratio(batch), batch.advantages, 3e-4, 4e-4).mean()


def gspo_token(batch: Batch) -> Tensor:
    probability = batch.logps.exp()
    token = sequence_ratio(batch).detach()[..., None] * probability / probability.detach()
    return mean_of_means(batch, clipped(token, by_token(batch), 3e-4, 4e-4))


def cispo(batch: Batch) -> Tensor:
    return mean_over_tokens(batch, ratio(batch).clamp(max=5.0).detach() * by_token(batch) * batch.logps)


def dcpo(batch: Batch) -> Tensor:
    old = batch.old_logps.exp()
    low = 0.5 + 0.5 * (1 - 4 * 0.16 / old).clamp(min=0).sqrt()
    high = 0.5 + 0.5 * (1 + 4 * 0.2 / old).sqrt()
    return mean_of_means(batch, clipped(ratio(batch), by_token(batch), low, high))


def sspo(batch: Batch) -> Tensor:
    terms = torch.zeros_like(batch.logps)
    for n in range(N):
        for i in range(G):
            for number in range(3):
                inside = batch.mask[n, i] & (batch.segments[n, i] == number)
                if inside.any():
                    logs = (batch.logps - batch.old_logps)[n, i][inside]
                    # As GSPO-token: the segment's ratio by value, each token's own gradient.
                    value = logs.mean().exp().detach()
                    token = value * (batch.logps[n, i] - batch.logps[n, i].detach()).exp()
                    spread = clipped(token, batch.advantages[n, i], 0.2, 0.2)
                    terms = terms + torch.where(inside, spread, 0) * one(n, i)
    return mean_of_means(batch, terms)


def one(n: int, i: int) -> Tensor:
    place = torch.zeros(N, G, 1, dtype=torch.float64)
    place[n, i] = 1
    return place


def grpo_fix(batch: Batch) -> Tensor:
    value = ratio(batch)
    inside = ((value >= 0.8) & (value <= 1.2)).detach()
    return mean_of_means(batch, value * by_token(batch) * inside)


def dfpo_min(batch: Batch) -> Tensor:
    weights = (sequence_ratio(batch) / batch.mask.sum(-1) / (N * G)).detach()
    least = weights.min(1, keepdim=True).values
    return (batch.advantages * least * batch.logps.masked_fill(~batch.mask, 0).sum(-1)).sum()


def dfpo_orthogonal(batch: Batch) -> Tensor:
    weights = (sequence_ratio(batch) / batch.mask.sum(-1) / (N * G)).detach()
    a = batch.advantages
    flat = weights - (a * weights).sum(1, keepdim=True) / (a * a).sum(1, keepdim=True) * a
    return (a * flat * batch.logps.masked_fill(~batch.mask, 0).sum(-1)).sum()


OBJECTIVES: dict[str, Callable[[Batch], Tensor]] = {
    name: globals()[name]
    for name in (
        *("grpo", "dr_grpo", "dapo", "bnpo", "gspo", "gspo_token", "cispo", "dcpo", "sspo", "grpo_fix"),
        *("dfpo_min", "dfpo_orthogonal"),
    )
}


def test_every_method_has_an_objective() -> None:
    assert set(OBJECTIVES) == set(METHODS)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("seed", range(4))
def test_weights_give_the_gradient_of_the_objective(name: str, seed: int) -> None:
    batch = Batch(seed)
    weights = batch.weights(METHODS[name])
    assert not weights.requires_grad
    assert (weights[~batch.mask] == 0).all()
    exact = batch.gradient(OBJECTIVES[name](batch))
    assert exact.abs().max() > 1e-4
    torch.testing.assert_close(batch.gradient(batch.surrogate(weights)), exact, rtol=1e-11, atol=1e-14)


def test_the_batches_reach_every_branch() -> None:
    """Tokens outside the clipping range on both sides, with advantages of both signs; segments of several lengths."""
    batch = Batch(0)
    value, sign = ratio(batch).detach(), batch.advantages[..., None].sign().expand(N, G, T)
    for outside in (value > 1.2, value < 0.8):
        for side in (1, -1):
            assert (outside & (sign == side) & batch.mask).any()
    assert len(batch.mask.sum(-1).unique()) > 3


# -- cancellation ------------------------------------------------------------------------------------------------------

FINITE = st.floats(-100, 100, allow_subnormal=False)


@given(
    st.integers(2, 16).flatmap(
        lambda size: st.tuples(
            st.lists(FINITE, min_size=size, max_size=size),
            st.lists(st.floats(0, 50, allow_subnormal=False), min_size=size, max_size=size),
        )
    )
)
def test_the_repairs_cancel(drawn: tuple[list[float], list[float]]) -> None:
    rewards = torch.tensor([drawn[0]], dtype=torch.float64)
    weights = torch.tensor([drawn[1]], dtype=torch.float64)
    advantages = rewards - rewards.mean(1, keepdim=True)
    # Not norms: the squares of very small weights underflow.
    size = advantages.abs().sum() * weights.abs().sum() + 1e-300
    for repaired in (min_replace(weights), advantage_orthogonal(weights, advantages)):
        assert (advantages * repaired).sum().abs() / size <= 1e-12
    assert (min_replace(weights) == weights.min()).all()


def test_no_gradient_flows_through_the_repairs() -> None:
    weights = torch.rand(1, 4, 3, dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([[1.0, 0.5, -0.5, -1.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 4, 3, dtype=torch.bool)
    assert not min_replace(weights).requires_grad
    assert not min_replace(weights, mask).requires_grad
    assert not advantage_orthogonal(weights, advantages).requires_grad
    assert not advantage_orthogonal(weights, advantages, mask).requires_grad


def test_orthogonal_is_the_nearest_and_changes_nothing_twice() -> None:
    batch = Batch(3)
    weights = torch.rand(N, G, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    once = advantage_orthogonal(weights, batch.advantages)
    torch.testing.assert_close(advantage_orthogonal(once, batch.advantages), once, rtol=0, atol=1e-14)
    # What was taken away is parallel to the advantages.
    removed = weights - once
    cosine = torch.cosine_similarity(removed, batch.advantages, dim=1).abs()
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=1e-12)
    nothing = torch.zeros_like(batch.advantages)
    torch.testing.assert_close(advantage_orthogonal(weights, nothing), weights)


@pytest.mark.parametrize("group", ["min_replace", "orthogonal"])
@pytest.mark.parametrize("level", ["token", "sequence", "segment"])
@pytest.mark.parametrize("normalization", ["completion", "batch", "constant"])
def test_positions_that_all_completions_have_cancel(group: str, level: str, normalization: str) -> None:
    rule = replace(TokenWeights(clip="none"), group=group, level=level, normalization=normalization)
    batch = Batch(5)
    sums = (batch.advantages[..., None] * batch.weights(rule)).sum(1)
    everywhere = batch.mask.all(1)
    assert everywhere.sum() >= N
    assert sums[everywhere].abs().max() <= 1e-15
    if group == "orthogonal" and level != "sequence":
        # Also where only some completions have a token.
        assert sums.abs().max() <= 1e-15
    plain = (batch.advantages[..., None] * batch.weights(replace(rule, group="none"))).sum(1)
    assert plain[everywhere].abs().max() > 1e-4


def test_the_gradient_on_a_shared_prefix_of_a_real_model_vanishes() -> None:
    torch.manual_seed(0)
    # GPT-2 norms in the model's own precision; Llama's RMSNorm rounds to float32.
    model = (
        GPT2LMHeadModel(
            GPT2Config(vocab_size=31, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0)
        )
        .double()
        .eval()
    )
    group, prompt, own = 6, 4, 8
    rng = torch.Generator().manual_seed(1)
    # Sharpened, so that completions begin alike; drawn until some, but not all of their tokens are common to all.
    for seed in range(100):
        torch.manual_seed(seed)
        ids = model.generate(
            torch.arange(3, 3 + prompt).expand(group, -1),
            attention_mask=torch.ones(group, prompt, dtype=torch.long),
            do_sample=True,
            temperature=0.05,
            min_new_tokens=own,
            max_new_tokens=own,
        )
        equal = (ids == ids[:1]).all(0)[prompt:]
        shared = int(equal.long().cumprod(0).sum())
        if 2 <= shared <= own - 2:
            break
    else:
        pytest.fail("no group of completions with a common beginning")
    logps = model(ids).logits[:, prompt - 1 : -1].log_softmax(-1).gather(-1, ids[:, prompt:, None])[..., 0][None]
    mask = torch.arange(own) < torch.randint(shared + 1, own + 1, (1, group, 1), generator=rng)
    old = logps.detach() + 0.3 * torch.randn(1, group, own, generator=rng, dtype=torch.float64)
    # The sampling policy gives a shared prefix the same probability in every completion.
    old[..., :shared] = old[:, :1, :shared]
    rewards = torch.randn(1, group, generator=rng, dtype=torch.float64)
    advantages = rewards - rewards.mean()

    def on_prefix(name: str) -> float:
        weights = METHODS[name](logps - old, advantages, mask, old_logps=old)
        loss = (advantages[..., None] * weights * logps)[..., :shared].sum()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return max(gradient.abs().max().item() for gradient in gradients if gradient is not None)

    for name in ("dfpo_min", "dfpo_orthogonal"):
        assert on_prefix(name) <= 1e-13
    for name in ("grpo", "gspo", "grpo_fix"):
        assert on_prefix(name) >= 1e-4
    # Ratios by token are equal on a shared prefix, so without length normalization and clipping it cancels too.
    weights = TokenWeights(clip="symmetric", normalization="constant")(logps - old, advantages, mask)
    assert (advantages[..., None] * weights)[..., :shared].sum(1).abs().max() <= 1e-15


# -- what is disputed --------------------------------------------------------------------------------------------------


def test_equal_weights_are_not_necessary() -> None:
    """A = (1, 1, -2) with w = (1, 3, 2) cancels, though no two weights are equal."""
    advantages = torch.tensor([[1.0, 1.0, -2.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 3.0, 2.0]], dtype=torch.float64)
    assert (advantages * weights).sum() == 0
    torch.testing.assert_close(advantage_orthogonal(weights, advantages), weights, rtol=0, atol=0)
    assert (min_replace(weights) == 1).all()


def test_equal_coefficients_do_not_keep_equal_rewards_together() -> None:
    """p = (.6, .3, .1), the first two outputs equally good: they drift apart under the exact gradient of equal weights.

    The expected update of a softmax policy's logits is p_j A_j: output 1 is drawn twice as often as output 2 and gets
    twice the push, so log(p_1 / p_2) grows. Cancellation on shared tokens says nothing about this.
    """
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    logits = p.log().requires_grad_()
    rewards = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    advantages = rewards - (p * rewards).sum()
    assert advantages[0] == advantages[1]
    objective = (p * advantages * logits.log_softmax(-1)).sum()
    (gradient,) = torch.autograd.grad(objective, logits)
    torch.testing.assert_close(gradient, p * advantages)
    assert gradient[0] - gradient[1] == pytest.approx(0.3 * 0.1)


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_what_the_mask_hides_is_never_read() -> None:
    log_ratio = torch.tensor([[[0.1, torch.nan], [torch.inf, torch.nan]]])
    mask = torch.tensor([[[True, False], [False, False]]])
    advantages = torch.tensor([[1.0, -1.0]])
    for name, rule in METHODS.items():
        weights = rule(
            log_ratio, advantages, mask, old_logps=torch.zeros(1, 2, 2), segments=torch.zeros(1, 2, 2, dtype=torch.long)
        )
        assert torch.isfinite(weights).all(), name
        assert (weights[~mask] == 0).all(), name


def test_ratios_by_level() -> None:
    log_ratio = torch.tensor([[[0.3, -0.1, 0.4, 9.0]]])
    mask = torch.tensor([[[True, True, True, False]]])
    segments = torch.tensor([[[0, 0, 1, 1]]])
    assert importance_ratio(log_ratio, mask, "token")[0, 0].log().tolist() == pytest.approx(
        [0.3, -0.1, 0.4, -torch.inf]
    )
    assert importance_ratio(log_ratio, mask, "sequence")[0, 0, :3].log().tolist() == pytest.approx([0.2] * 3)
    by_segment = importance_ratio(log_ratio, mask, "segment", segments)[0, 0, :3]
    assert by_segment.log().tolist() == pytest.approx([0.1, 0.1, 0.4])


def test_clipping_by_sign() -> None:
    value = torch.tensor([[[1.5, 0.5, 1.0], [1.5, 0.5, 1.0], [1.5, 0.5, 1.0]]])
    advantages = torch.tensor([[1.0, -1.0, 0.0]])
    assert kept(value, advantages, 0.8, 1.2).tolist() == [
        [[False, True, True], [True, False, True], [True, True, True]]
    ]
    assert kept(value, advantages, 0.8, 1.2, symmetric=True).tolist() == [[[False, False, True]] * 3]


def test_the_dynamic_bounds_of_the_paper() -> None:
    """The worked rows of DCPO's table: q = .9 gives p in [.69, 1.06]; q = .01 gives [.005, .05]."""
    q = torch.tensor([0.9, 0.01], dtype=torch.float64)
    least, largest = dynamic_bounds(q, 0.16, 0.2)
    assert (q * least).tolist() == pytest.approx([0.69, 0.005], abs=0.005)
    assert (q * largest).tolist() == pytest.approx([1.06, 0.05], abs=0.01)


def test_tokens_of_a_larger_batch() -> None:
    batch = Batch(1)
    rule = METHODS["dapo"]
    whole = rule(batch.log_ratio, batch.advantages, batch.mask)
    part = rule(batch.log_ratio[:1], batch.advantages[:1], batch.mask[:1], tokens=batch.mask.sum())
    torch.testing.assert_close(part, whole[:1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "word"}, "level is 'word'; use one of token, sequence, segment"),
        ({"clip": "hard"}, "clip is 'hard'"),
        ({"group": "max"}, "group is 'max'"),
        ({"low": -0.1}, "must be at least 0"),
    ],
)
def test_mistakes(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenWeights(**settings)  # type: ignore[arg-type]


def test_what_a_rule_needs() -> None:
    batch = Batch(0)
    with pytest.raises(ValueError, match="need the segments"):
        METHODS["sspo"](batch.log_ratio, batch.advantages, batch.mask)
    with pytest.raises(ValueError, match="old log-probabilities"):
        METHODS["dcpo"](batch.log_ratio, batch.advantages, batch.mask)
