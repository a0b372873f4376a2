"""Methods on the gradients of A and B, and methods that weigh whole gradients: one pass gives what K passes give."""

from __future__ import annotations

import random as stdlib_random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from capture_models import (
    ARCHITECTURES,
    ORDERS,
    K,
    accumulate,
    assert_same,
    batch,
    checkpointing,
    domain_losses,
    factors,
    factors_by_autograd,
    gradients,
    lora_model,
    run,
    step,
)
from torch import Tensor, nn

from isograd.capture import DomainCapture
from isograd.capture._layers import find_layers
from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.gradients import (
    AndMask,
    CAGrad,
    GlobalMethod,
    Iga,
    LayerContext,
    LocalMethod,
    Mgda,
    PCGrad,
    SandMask,
)


@dataclass(frozen=True)
class PickLocal(LocalMethod):
    """The gradient of one domain, by way of the gradients of the factors."""

    k: int = 0
    space: str = "factor"  # type: ignore[misc]

    def merge(self, grads: Tensor) -> Tensor:
        return grads[self.k]


@dataclass(frozen=True)
class Spy(GlobalMethod):
    """Fixed weights; keeps the Gramians that it is shown, and a draw."""

    fixed: tuple[float, ...]
    gramians: list[Tensor] = field(default_factory=list)
    draws: list[float] = field(default_factory=list)

    def weights(self, gramian: Tensor, rng: stdlib_random.Random) -> Tensor:
        self.gramians.append(gramian.clone())
        self.draws.append(rng.random())
        return torch.tensor(self.fixed, dtype=torch.float64)


def pick_global(k: int) -> Spy:
    return Spy(tuple(float(j == k) for j in range(K)))


LOCAL = [
    Iga(space="factor", tau=2.0),
    Iga(space="factor", normalization="layer_mean"),
    Iga(space="factor", variance="running"),
    AndMask(space="factor", tau=0.5),
    SandMask(space="factor", tau=0.0),
]
GLOBAL = [PCGrad(), Mgda(), Mgda(normalize="length"), CAGrad()]


def gramian_of(per_domain: dict[str, Tensor]) -> Tensor:
    flat = torch.cat([grads.flatten(1) for grads in per_domain.values()], 1)
    return flat @ flat.mT


def expected_of(
    method: LocalMethod | GlobalMethod, per_domain: dict[str, Tensor], rng: stdlib_random.Random | None = None
) -> dict[str, Tensor]:
    """The method at its first step, on gradients by autograd."""
    if isinstance(method, GlobalMethod):
        weights = method.weights(gramian_of(per_domain), rng or stdlib_random.Random(0))
        return {name: torch.einsum("k,kij->ij", weights, grads) for name, grads in per_domain.items()}
    return {name: method.merge_layer(grads, LayerContext(rank=3)) for name, grads in per_domain.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("pick", [PickLocal, pick_global], ids=["local", "global"])
def test_per_domain_gradients_equal_separate_passes(
    architecture: str, order: list[int], pick: Callable[[int], LocalMethod | GlobalMethod]
) -> None:
    model, data = lora_model(architecture), batch(order)
    expected = factors_by_autograd(model, data)
    assert all(grads[k].abs().max() > 1e-6 for grads in expected.values() for k in range(K))
    for k in range(K):
        run(model, pick(k), data)
        assert_same(gradients(model), {name: grads[k] for name, grads in expected.items()})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gramian_and_the_weighted_sum(architecture: str) -> None:
    model, data = lora_model(architecture), batch(ORDERS["unequal"])
    per_domain = factors_by_autograd(model, data)
    spy = Spy((0.7, -0.2, 0.0, 1.3))
    run(model, spy, data)
    (gramian,) = spy.gramians
    assert (gramian.dtype, gramian.device.type) == (torch.float64, "cpu")
    torch.testing.assert_close(gramian, gramian_of(per_domain), rtol=1e-10, atol=1e-12)
    assert_same(gradients(model), expected_of(spy, per_domain))


@pytest.mark.parametrize("method", [*LOCAL, *GLOBAL], ids=str)
def test_methods_on_the_separate_gradients(method: LocalMethod | GlobalMethod) -> None:
    model, data = lora_model("qwen3"), batch(ORDERS["interleaved"])
    rng = named_random("gradients", type(method).__name__, 7, 0)
    expected = expected_of(method, factors_by_autograd(model, data), rng)
    run(model, method, data, seed=7)
    assert_same(gradients(model), expected, 1e-9)


def test_domains_that_learn_the_opposite() -> None:
    model, data = lora_model(), batch(ORDERS["sorted"])
    sign = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    per_domain = {name: sign[:, None, None] * grads for name, grads in factors_by_autograd(model, data).items()}
    assert (gramian_of(per_domain) < 0).any()
    capture = DomainCapture(model, PCGrad(), num_domains=K)
    model.zero_grad()
    with capture.micro_batch(data["domains"]):
        (sign * domain_losses(model, data, K)).mean().backward()
    capture.write_gradients()
    expected = expected_of(PCGrad(), per_domain, named_random("gradients", "PCGrad", 0, 0))
    assert_same(gradients(model), expected)
    mean = {name: grads.mean(0) for name, grads in per_domain.items()}
    assert any((expected[name] - mean[name]).abs().max() > 1e-3 * mean[name].abs().max() for name in mean)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("method", [LOCAL[0], LOCAL[3], GLOBAL[1], pick_global(2)], ids=str)
def test_checkpointing_changes_nothing(use_reentrant: bool, method: LocalMethod | GlobalMethod) -> None:
    model, data = lora_model(), batch(ORDERS["unequal"])
    run(model, method, data)
    expected = gradients(model)
    checkpointing(model, use_reentrant)
    run(model, method, data)
    assert_same(gradients(model), expected)
    accumulate(model, DomainCapture(model, method, num_domains=K), data, 7)
    assert_same(gradients(model), expected, 1e-7)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("parts", [2, 4, 7])
@pytest.mark.parametrize("method", [LOCAL[0], LOCAL[4], GLOBAL[1], GLOBAL[3], pick_global(1)], ids=str)
def test_accumulation_changes_nothing(architecture: str, parts: int, method: LocalMethod | GlobalMethod) -> None:
    model, data = lora_model(architecture), batch(ORDERS["unequal"])
    run(model, method, data)
    expected = gradients(model)
    capture = DomainCapture(model, method, num_domains=K)
    for _ in range(2):  # the second window must not remember the first
        accumulate(model, capture, data, parts)
        assert_same(gradients(model), expected, 1e-7)


@pytest.mark.parametrize("pick", [PickLocal, pick_global], ids=["local", "global"])
def test_autocast(pick: Callable[[int], LocalMethod | GlobalMethod]) -> None:
    data = batch(ORDERS["unequal"])
    model = lora_model("gpt2", dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = factors_by_autograd(model, data)
    run(model, pick(2), data, autocast=True)
    outside = gradients(model)
    for name, grad in outside.items():
        assert grad.dtype == torch.float32
        assert torch.linalg.norm(grad - expected[name][2]) < 0.02 * torch.linalg.norm(expected[name][2])
    with torch.autocast("cpu", torch.bfloat16):  # backward too: rounds nothing more
        run(model, pick(2), data)
    assert_same(gradients(model), outside, 0.0)


@pytest.mark.parametrize("method", [Iga(space="factor"), Mgda()], ids=str)
def test_half_precision(method: LocalMethod | GlobalMethod) -> None:
    data = batch(ORDERS["unequal"])
    exact = lora_model("gpt2")
    run(exact, method, data)
    model = lora_model("gpt2", dtype=torch.bfloat16)
    run(model, method, data)
    for name, grad in gradients(model).items():
        assert grad.dtype == torch.bfloat16
        expected = factors(exact)[name].grad
        assert torch.linalg.norm(grad.double() - expected) < 0.1 * torch.linalg.norm(expected)


@pytest.mark.parametrize("method", [*LOCAL, *GLOBAL], ids=str)
def test_a_fresh_adapter(method: LocalMethod | GlobalMethod) -> None:
    model, data = lora_model(), batch(ORDERS["unequal"])
    fresh(model)
    run(model, method, data)
    for name, grad in gradients(model).items():
        assert grad.isfinite().all()
        assert (grad.abs().max() > 0) == ("lora_B" in name)


def fresh(model: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in factors(model).items():
            if "lora_B" in name:
                parameter.zero_()


def test_frozen_factors_get_no_gradient_and_the_others_theirs() -> None:
    model, data = lora_model(), batch(ORDERS["sorted"])
    run(model, Iga(space="factor"), data)
    expected = {name: grad for name, grad in gradients(model).items() if "lora_B" in name}
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            parameter.requires_grad_(False)
            parameter.grad = None
    run(model, Iga(space="factor"), data)
    assert_same(gradients(model), expected)
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if "lora_A" in name)


def test_what_a_method_remembers_is_kept_by_factor_and_survives() -> None:
    model = lora_model()
    one, two = batch(ORDERS["sorted"]), batch(ORDERS["unequal"], seed=5)
    method = Iga(space="factor", variance="running", decay=0.75)
    capture = DomainCapture(model, method, num_domains=K)
    step(model, capture, one)
    saved = {name: {key: value.clone() for key, value in state.items()} for name, state in capture.states.items()}
    assert set(saved) == {f"{layer.name}{part}" for layer in find_layers(model, None) for part in (".A", ".B")}
    first = factors_by_autograd(model, one)
    for name, state in saved.items():
        layer, _, part = name.rpartition(".")
        grads = first[f"{layer}.lora_{part}.default.weight"]
        torch.testing.assert_close(state["squared_mean"], grads.mean(0).square(), rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(state["mean_square"], grads.square().mean(0), rtol=1e-6, atol=1e-12)
    step(model, capture, two)
    expected = gradients(model)
    capture.remove()
    resumed = DomainCapture(model, method, num_domains=K)
    resumed.states = saved
    step(model, resumed, two)
    assert_same(gradients(model), expected, 0.0)
    resumed.remove()
    run(model, method, two)  # without a memory
    assert not torch.allclose(next(iter(gradients(model).values())), next(iter(expected.values())), rtol=1e-4)


def test_draws_are_named_by_seed_and_step() -> None:
    model, data = lora_model(), batch(ORDERS["sorted"])

    def drawn(number: int, seed: int = 0) -> float:
        spy = pick_global(0)
        capture = DomainCapture(model, spy, num_domains=K, seed=seed)
        capture.set_step(number, 10)
        step(model, capture, data)
        capture.remove()
        return spy.draws[0]

    assert drawn(3) == drawn(3)
    assert len({drawn(3), drawn(4), drawn(3, seed=1)}) == 3


def test_shuffled_factors_draw_anew_for_every_factor_layer_step_and_seed() -> None:
    seen: dict[tuple[int, int], list[tuple[int, ...]]] = {}

    @dataclass(frozen=True)
    class Draw(LocalMethod):
        key: tuple[int, int] = (0, 0)

        space: str = "factor"  # type: ignore[misc]

        def merge(self, grads: Tensor) -> Tensor:
            return grads.mean(0)

        def merge_layer(self, grads: Tensor, context: LayerContext) -> Tensor:
            draw = torch.randperm(50, generator=context.generator)
            seen.setdefault(self.key, []).append(tuple(draw.tolist()))
            return self.merge(grads)

    model, data = lora_model(), batch(ORDERS["sorted"])
    for key in [(0, 0), (0, 1), (1, 0)]:
        capture = DomainCapture(model, Draw(key), num_domains=K, seed=key[0])
        capture.set_step(key[1], 10)
        step(model, capture, data)
        capture.remove()
    draws = [draw for several in seen.values() for draw in several]
    assert len(draws) == len(set(draws)) == 3 * 28


def test_dense_gradients_are_refused() -> None:
    for method in (Iga(space="factor"), PCGrad()):
        with pytest.raises(UserError, match="forms no dense gradient"):
            DomainCapture(lora_model(), method, num_domains=K, keep_dense=True)
