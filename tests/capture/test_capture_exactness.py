"""One pass gives what K passes give: per-domain gradients and the methods built on them, on four architectures."""

from __future__ import annotations

import pytest
import torch
from capture_models import (
    ARCHITECTURES,
    ORDERS,
    K,
    accumulate,
    assert_same,
    autograd,
    batch,
    checkpointing,
    dense_by_autograd,
    factors,
    gradients,
    lora_model,
    run,
)
from torch import Tensor

from isograd.capture import DomainCapture, _dense, _rows
from isograd.gradients import Iga, LocalMethod, make_method

MEAN = Iga(tau=0.0, svd="none")


@pytest.fixture(params=["copied", "in place"])
def token_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways from tokens to products, and tiles smaller than a layer, whatever the size of the test."""
    monkeypatch.setattr(_rows, "_LONG_SEGMENT", {"cpu": 10**6 if request.param == "copied" else 0})
    monkeypatch.setattr(_dense, "_TILE_BYTES", {"cpu": 1})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.usefixtures("token_path")
def test_per_domain_gradients_equal_separate_passes(architecture: str, order: list[int]) -> None:
    model, data = lora_model(architecture), batch(order)
    expected = dense_by_autograd(model, data, K)
    assert len(expected) == (8 if architecture == "gpt2" else 14)
    assert all(grads.abs().max() > 1e-6 for grads in expected.values())
    assert_same(run(model, MEAN, data, keep_dense=True), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.usefixtures("token_path")
def test_without_mask_and_svd_it_is_erm(architecture: str) -> None:
    model, data = lora_model(architecture), batch(ORDERS["unequal"])
    expected = autograd(model, data)
    assert all(grad.abs().max() > 1e-6 for grad in expected.values())
    run(model, MEAN, data)
    assert_same(gradients(model), expected)


@pytest.mark.parametrize("normalization", ["mean_square", "none"])
@pytest.mark.parametrize("svd", ["none", "exact", "randomized"])
@pytest.mark.usefixtures("token_path")
def test_iga_is_its_equations_on_the_separate_gradients(svd: str, normalization: str) -> None:
    model, data = lora_model("qwen3"), batch(ORDERS["interleaved"])
    expected = {}
    for name, grads in dense_by_autograd(model, data, K).items():
        variance = grads.var(0, unbiased=False)
        if normalization == "mean_square":
            variance = (variance / grads.square().mean(0)).nan_to_num(nan=0.0)
        direction = grads.mean(0) * torch.exp(-0.8 * variance)
        layer = model.get_submodule(name)
        A, B, scaling = layer.lora_A["default"].weight, layer.lora_B["default"].weight, 5 / 3
        if svd != "none":
            U, S, Vh = torch.linalg.svd(direction, full_matrices=False)
            direction = (U[:, :3] * S[:3]) @ Vh[:3]
        expected[f"{name}.lora_A.default.weight"] = (scaling * B.mT @ direction).detach()
        expected[f"{name}.lora_B.default.weight"] = (scaling * direction @ A.mT).detach()
    # The layers here are hardly larger than the sketch: enough power iterations make it exact.
    sharp = {"power_iterations": 8} if svd == "randomized" else {}
    run(model, make_method("iga", tau=0.8, normalization=normalization, svd=svd, **sharp), data)
    assert_same(gradients(model), expected, 1e-10 if svd != "randomized" else 1e-7)


def test_names_of_domains_and_order_of_rows_change_nothing() -> None:
    model, data = lora_model(), batch(ORDERS["unequal"])
    run(model, Iga(), data)
    expected = gradients(model)
    run(model, Iga(), data | {"domains": torch.tensor([3, 0, 2, 1])[data["domains"]]})
    assert_same(gradients(model), expected)
    shuffled = torch.tensor([4, 2, 6, 0, 1, 5, 3])
    run(model, Iga(), {name: value[shuffled] for name, value in data.items()})
    assert_same(gradients(model), expected, 1e-8)  # float32 in the norms rounds otherwise


def test_equal_domains_give_the_gradient_of_erm() -> None:
    model, data = lora_model(), batch([0, 0])
    repeated = {name: value.repeat(K, *[1] * (value.dim() - 1)) for name, value in data.items()}
    repeated["domains"] = torch.arange(K).repeat_interleave(2)
    expected = autograd(model, repeated)
    run(model, Iga(tau=3.0, svd="none"), repeated)
    assert_same(gradients(model), expected)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("method", [Iga(), MEAN], ids=["iga", "mean"])
def test_checkpointing_changes_nothing(use_reentrant: bool, method: LocalMethod) -> None:
    model, data = lora_model(), batch(ORDERS["unequal"])
    run(model, method, data)
    expected = gradients(model)
    checkpointing(model, use_reentrant)
    run(model, method, data)
    assert_same(gradients(model), expected)
    capture = DomainCapture(model, method, num_domains=K)
    accumulate(model, capture, data, 7)
    assert_same(gradients(model), expected, 1e-8)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("method", [Iga(), MEAN], ids=["iga", "mean"])
def test_accumulation_changes_nothing(architecture: str, method: LocalMethod) -> None:
    model, data = lora_model(architecture), batch(ORDERS["unequal"])
    run(model, method, data)
    expected = gradients(model)
    capture = DomainCapture(model, method, num_domains=K)
    for _ in range(2):  # the second window must not remember the first
        accumulate(model, capture, data, 4)
        assert_same(gradients(model), expected, 1e-8)


@pytest.mark.parametrize(
    "lora",
    [
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 5, "down_proj": 1}, "alpha_pattern": {"v_proj": 9}},
        {"target_modules": ["q_proj", "v_proj"], "r": 20},  # more than the layers' own rank
    ],
)
def test_ranks_and_scalings(lora: dict[str, object]) -> None:
    model, data = lora_model(**lora), batch(ORDERS["unequal"])
    expected = autograd(model, data)
    run(model, MEAN, data)
    assert_same(gradients(model), expected)
    run(model, Iga(), data)
    assert all(grad.isfinite().all() for grad in gradients(model).values())


def test_a_fresh_adapter() -> None:
    model, data = lora_model(), batch(ORDERS["unequal"])
    with torch.no_grad():
        for name, parameter in factors(model).items():
            if "lora_B" in name:
                parameter.zero_()
    run(model, Iga(), data)
    for name, grad in gradients(model).items():
        assert (grad.abs().max() > 0) == ("lora_B" in name)


def test_half_precision_sums_in_float32() -> None:
    data = batch(ORDERS["unequal"])
    exact = run(lora_model("gpt2"), MEAN, data, keep_dense=True)
    model = lora_model("gpt2", dtype=torch.bfloat16)
    dense = run(model, Iga(), data, keep_dense=True)
    for name, grads in dense.items():
        assert grads.dtype == torch.float32
        assert torch.linalg.norm(grads.double() - exact[name]) < 0.05 * torch.linalg.norm(exact[name])
    assert {parameter.grad.dtype for parameter in factors(model).values()} == {torch.bfloat16}


@pytest.mark.parametrize("keep_dense", [False, True])
def test_autocast(keep_dense: bool) -> None:
    data = batch(ORDERS["unequal"])
    model = lora_model("gpt2", dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = autograd(model, data)
    run(model, MEAN, data, autocast=True, keep_dense=keep_dense)
    outside = gradients(model)
    for name, grad in outside.items():
        assert grad.dtype == torch.float32
        assert torch.linalg.norm(grad - expected[name]) < 0.02 * torch.linalg.norm(expected[name])
    with torch.autocast("cpu", torch.bfloat16):  # backward too, as careless loops do: rounds nothing more
        run(model, MEAN, data, keep_dense=keep_dense)
    assert_same(gradients(model), outside, 0.0)


def test_a_term_between_rows_counts_for_the_rows_it_flows_through() -> None:
    model, data = lora_model(), batch(ORDERS["sorted"])

    def term() -> Tensor:
        logits = model(input_ids=data["input_ids"], attention_mask=data["attention_mask"]).logits
        return (logits[0] - logits[4]).square().mean()  # a row of domain 0 and one of domain 2

    model.zero_grad()
    term().backward()
    expected = gradients(model)
    capture = DomainCapture(model, MEAN, num_domains=K, keep_dense=True)
    model.zero_grad()
    with capture.micro_batch(data["domains"]):
        term().backward()
    capture.write_gradients()
    assert_same(gradients(model), expected)
    for grads in capture.dense_gradients.values():
        assert [bool(grad.abs().max() > 0) for grad in grads] == [True, False, True, False]
