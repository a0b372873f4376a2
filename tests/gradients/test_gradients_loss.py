"""Methods on losses: properties, numbers, and penalties against what they stand for."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from gradient_cases import LOSS, head_of, losses_of, name, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.common.errors import UserError
from isograd.gradients import (
    DomainLosses,
    Erm,
    Fishr,
    GroupDro,
    HeadTokens,
    Irm,
    LossMethod,
    State,
    VRex,
    _fishr,
)
from isograd.gradients._fishr import variance_distance

PENALIZED_ALONE = [method for method in LOSS if isinstance(method, Irm) and method.weight]
"""The documented exception: IRMv1 on one domain is not ERM on it."""
WEIGHTINGS = [method for method in LOSS if method not in PENALIZED_ALONE]


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gradient(value: Tensor, by: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(value, by)
    return result


@pytest.mark.parametrize("method", LOSS, ids=name)
class TestEveryLossMethod:
    @settings(max_examples=15)
    @given(K=st.integers(1, 6), seed=st.integers(0, 999))
    def test_the_order_of_domains_does_not_matter(self, method: LossMethod, K: int, seed: int) -> None:
        values, tokens = normal(K, seed=seed).abs(), torch.arange(1.0, K + 1).double()
        order = torch.randperm(K, generator=torch.Generator().manual_seed(seed))
        place = torch.argsort(order)
        straight = head_of(K, equal=False)
        mixed = dataclasses.replace(straight, domains=place[straight.domains])
        one = method.combine(losses_of(values, tokens=tokens, head=straight), {})
        two = method.combine(losses_of(values[order], tokens=tokens[order], head=mixed), {})
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_scalar_that_carries_the_graph(self, method: LossMethod, dtype: torch.dtype) -> None:
        values = normal(3, dtype=dtype).abs().requires_grad_()
        combined = method.combine(losses_of(values), {})
        assert combined.shape == ()
        assert gradient(combined, values).isfinite().all()

    def test_a_nan_stays_visible(self, method: LossMethod) -> None:
        assert method.combine(losses_of(of(1.0, math.nan, 2.0)), {}).isnan()

    def test_only_state_is_remembered(self, method: LossMethod) -> None:
        domains = losses_of(of(1.0, 3.0, 2.0))
        before = domains.losses.clone()
        first = method.combine(domains, {})
        assert torch.equal(method.combine(domains, {}), first)
        assert torch.equal(domains.losses, before)


@pytest.mark.parametrize("method", WEIGHTINGS, ids=name)
@settings(max_examples=15)
@given(K=st.integers(1, 6), loss=st.floats(0.0, 20.0))
def test_equal_domains_give_their_loss_and_weights_that_sum_to_one(method: LossMethod, K: int, loss: float) -> None:
    values = torch.full((K,), loss, dtype=torch.float64, requires_grad=True)
    domains = losses_of(values, tokens=torch.full((K,), 7.0, dtype=torch.float64))
    combined = method.combine(domains, {})
    assert combined.item() == pytest.approx(loss, abs=1e-12)
    torch.testing.assert_close(gradient(combined, values), torch.full((K,), 1 / K, dtype=torch.float64))


@pytest.mark.parametrize("method", WEIGHTINGS, ids=name)
def test_weights_sum_to_one_where_domains_differ(method: LossMethod) -> None:
    values = of(0.5, 2.0, 1.25).requires_grad_()
    assert gradient(method.combine(losses_of(values), {}), values).sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("method", LOSS, ids=name)
def test_linear_methods_are_those_whose_factors_are_fixed(method: LossMethod) -> None:
    factors = []
    for values in (of(0.5, 2.0, 1.25), of(9.0, 0.0, 4.0)):
        values.requires_grad_()
        factors.append(gradient(method.combine(losses_of(values), {}), values))
    if method.linear:
        assert torch.equal(*factors)
    assert method.linear == isinstance(method, Erm)


class TestErm:
    def test_values(self) -> None:
        domains = losses_of(of(1.0, 4.0), tokens=of(3.0, 1.0))
        assert Erm().combine(domains, {}).item() == 2.5
        assert Erm(balance="token").combine(domains, {}).item() == 1.75


class TestGroupDro:
    def test_two_steps(self) -> None:
        """q after n steps is softmax(eta * sum of losses): by hand with eta = log 2."""
        method, state = GroupDro(eta=math.log(2)), State()
        assert method.combine(losses_of(of(1.0, 0.0)), state).item() == pytest.approx(2 / 3)
        torch.testing.assert_close(state["log_q"].exp(), of(2 / 3, 1 / 3))
        values = of(0.0, 3.0).requires_grad_()
        combined = method.combine(losses_of(values), state)
        torch.testing.assert_close(state["log_q"].exp(), of(0.2, 0.8))  # 2 : 8
        assert combined.item() == pytest.approx(2.4)
        torch.testing.assert_close(gradient(combined, values), of(0.2, 0.8))  # q is no function of the losses
        assert not state["log_q"].requires_grad

    def test_no_step_size_is_erm_and_a_long_run_finds_the_worst(self) -> None:
        assert GroupDro(eta=0.0).combine(losses_of(of(1.0, 3.0)), {}).item() == pytest.approx(2.0)
        state: State = {}
        for _ in range(2000):
            worst = GroupDro(eta=1.0).combine(losses_of(of(1.0, 3.0, 2.0)), state)
        assert worst.item() == pytest.approx(3.0)


class TestVRex:
    def test_values(self) -> None:
        values = of(1.0, 2.0, 6.0).requires_grad_()
        combined = VRex(weight=0.5).combine(losses_of(values), {})
        assert combined.item() == pytest.approx(3.0 + 0.5 * (4 + 1 + 9) / 3)
        expected = [1 / 3 + 0.5 * 2 / 3 * difference for difference in (-2.0, -1.0, 3.0)]
        torch.testing.assert_close(gradient(combined, values), of(*expected))


@pytest.mark.parametrize("kind", [VRex, Irm, Fishr])
def test_penalties_begin_to_act(kind: type[VRex]) -> None:
    method = kind(weight=2.0, start=3)
    assert [method.at(step, 10).weight for step in range(5)] == [0.0, 0.0, 0.0, 2.0, 2.0]
    assert kind(weight=2.0).at(0, 10) == kind(weight=2.0)
    assert VRex().at(0, 1).weight == 10.0  # the defaults are DomainBed's
    assert Irm().at(0, 1).weight == 100.0
    assert Fishr().at(0, 1).weight == 0.1


class TestIrm:
    def test_values(self) -> None:
        domains = DomainLosses(of(1.0, 3.0), of(1.0, 1.0), scale_gradients=of(0.5, -2.0))
        assert Irm(weight=2.0).combine(domains, {}).item() == pytest.approx(2.0 + 2.0 * (0.25 + 4) / 2)
        assert Irm.needs_scale_gradients

    def test_the_penalty_is_that_of_a_dummy_scale_on_the_logits(self) -> None:
        """Value and gradient, against double backward through the scale, as in the paper."""
        K, each, width, vocabulary, weight = 3, 5, 4, 6, 7.0
        model = normal(vocabulary, width, seed=1).requires_grad_()
        inputs, targets = normal(K, each, width), torch.arange(K * each).reshape(K, each) % vocabulary

        def losses(scale: Tensor) -> Tensor:
            logits = scale * inputs @ model.mT
            return torch.nn.functional.cross_entropy(logits.permute(0, 2, 1), targets, reduction="none").mean(1)

        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        slopes = [torch.autograd.grad(one, scale, create_graph=True)[0] for one in losses(scale)]
        expected = losses(scale).mean() + weight * torch.stack(slopes).square().mean()

        log_p = (inputs @ model.mT).log_softmax(-1)
        surprise = -log_p.gather(-1, targets[..., None]).squeeze(-1)
        entropy = -(log_p.exp() * log_p).sum(-1)
        domains = DomainLosses(surprise.mean(1), of(*[each] * K), scale_gradients=(surprise - entropy).mean(1))
        combined = Irm(weight=weight).combine(domains, {})

        torch.testing.assert_close(combined, expected, rtol=1e-10, atol=0)
        torch.testing.assert_close(gradient(combined, model), gradient(expected, model), rtol=1e-10, atol=1e-12)

    def test_equal_domains_give_irm_on_one_of_them(self) -> None:
        one, three = (
            Irm().combine(DomainLosses(of(*[2.0] * K), of(*[1.0] * K), scale_gradients=of(*[0.3] * K)), {})
            for K in (1, 3)
        )
        torch.testing.assert_close(one, three)
        assert one.item() > 2.0


def reference_distance(head: HeadTokens, K: int) -> Tensor:
    """From the gradient of each token's loss with respect to the head's weight, one at a time, by autograd."""
    weight = head.weight.detach().clone().requires_grad_()
    variances = []
    for k in range(K):
        own = []
        for token in (head.domains == k).nonzero().squeeze(-1):
            loss = torch.nn.functional.cross_entropy(head.hidden[token] @ weight.mT, head.targets[token])
            own.append(torch.autograd.grad(loss, weight, create_graph=True)[0])
        variances.append(torch.stack(own).var(0, unbiased=False))
    stacked = torch.stack(variances)
    return (stacked - stacked.mean(0)).square().sum((1, 2)).mean()


class TestFishr:
    @pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
    @pytest.mark.parametrize("K", [1, 2, 4])
    def test_value_and_gradient_against_gradients_of_samples(
        self, K: int, block: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        width, vocabulary = 3, 7
        monkeypatch.setattr(_fishr, "_ENTRIES_AT_ONCE", block * width)
        head = head_of(K, each=3, width=width, vocabulary=vocabulary, equal=False)
        order = torch.randperm(len(head.targets), generator=torch.Generator().manual_seed(0))
        hidden = head.hidden[order].requires_grad_()
        mixed = HeadTokens(hidden, head.targets[order], head.domains[order], head.weight)
        distance, expected = variance_distance(mixed, K), reference_distance(mixed, K)
        torch.testing.assert_close(distance, expected, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(gradient(distance, hidden), gradient(expected, hidden), rtol=1e-10, atol=1e-13)

    def test_the_whole_loss(self) -> None:
        head, values = head_of(3, equal=False), of(1.0, 2.0, 6.0)
        combined = Fishr(weight=5.0).combine(losses_of(values, head=head), {})
        torch.testing.assert_close(combined, 3.0 + 5.0 * reference_distance(head, 3), rtol=1e-10, atol=0)
        assert Fishr.needs_head

    def test_equal_domains_cost_nothing_and_pull_nowhere(self) -> None:
        head = head_of(3)
        hidden = head.hidden.requires_grad_()
        distance = variance_distance(dataclasses.replace(head, hidden=hidden), 3)
        assert abs(distance.item()) < 1e-30
        assert gradient(distance, hidden).abs().max() < 1e-15

    def test_half_precision_is_computed_in_float32(self) -> None:
        head = head_of(2, equal=False)
        half = dataclasses.replace(head, hidden=head.hidden.bfloat16(), weight=head.weight.bfloat16())
        single = dataclasses.replace(half, hidden=half.hidden.float(), weight=half.weight.float())
        assert variance_distance(half, 2).dtype == torch.float32
        torch.testing.assert_close(variance_distance(half, 2), variance_distance(single, 2))

    def test_a_domain_without_tokens(self) -> None:
        with pytest.raises(UserError, match=r"^fishr: domain 2 has no supervised token in the batch$"):
            variance_distance(head_of(2), 3)
        assert Fishr(weight=0.0).combine(DomainLosses(of(1.0, 2.0), of(1.0, 1.0)), {}).item() == 1.5
