"""What autograd works out beside the capture: nothing of A and B that goes unread, and all of it for one who looks."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from capture_models import (
    ARCHITECTURES,
    ORDERS,
    K,
    assert_same,
    autograd,
    batch,
    checkpointing,
    dense_by_autograd,
    domain_losses,
    factors,
    gradients,
    lora_model,
    run,
    step,
)
from torch import nn

from isograd.capture import DomainCapture
from isograd.capture._layers import find_layers
from isograd.common.errors import UserError
from isograd.gradients import GlobalMethod, Iga, LocalMethod, PCGrad

METHODS = [Iga(tau=2.0), PCGrad()]


def all_train(model: nn.Module) -> bool:
    return all(parameter.requires_grad for name, parameter in model.named_parameters() if "lora_" in name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_gradients_that_will_be_written_over_are_never_worked_out(
    architecture: str, method: LocalMethod | GlobalMethod
) -> None:
    model, data = lora_model(architecture), batch(ORDERS["interleaved"])
    capture = DomainCapture(model, method, num_domains=K)
    with capture.micro_batch(data["domains"]):
        loss = domain_losses(model, data, K).mean()
        assert all_train(model)
        loss.backward()
    assert all(parameter.grad is None for parameter in factors(model).values())
    capture.write_gradients()
    assert all(parameter.grad is not None for parameter in factors(model).values())
    # Outside of a micro-batch the model trains as it always did.
    expected = autograd(lora_model(architecture), data)
    assert_same(autograd(model, data), expected, 0.0)


@pytest.mark.parametrize("use_reentrant", [None, False, True])
def test_one_that_only_reads_leaves_them(use_reentrant: bool | None) -> None:
    model, data = lora_model(), batch(ORDERS["unequal"])
    expected, dense = autograd(model, data), dense_by_autograd(model, data, K)
    if use_reentrant is not None:
        checkpointing(model, use_reentrant)
    capture = DomainCapture(model, Iga(tau=0.0, svd="none"), num_domains=K, keep_dense=True, only_reads=True)
    model.zero_grad()
    with capture.micro_batch(data["domains"]):
        domain_losses(model, data, K).mean().backward()
    assert_same(gradients(model), expected)
    assert_same(capture.dense_gradients, dense)
    with pytest.raises(UserError, match=r"^this capture only reads: make one with only_reads=False"):
        capture.write_gradients()


def test_one_that_reads_beside_one_that_writes_changes_nothing() -> None:
    data, found = batch(ORDERS["interleaved"]), []
    for watched in (False, True):
        model = lora_model()
        watch = DomainCapture(model, Iga(tau=0.0), num_domains=K, only_reads=True)
        with watch.micro_batch(data["domains"]) if watched else nullcontext():
            run(model, Iga(tau=2.0), data)
        found.append(gradients(model))
        assert all_train(model)
    assert_same(*found, 0.0)


def test_a_layer_that_raises_goes_on_training() -> None:
    model, data = lora_model(), batch(ORDERS["interleaved"])
    capture = DomainCapture(model, Iga(tau=2.0), num_domains=K)
    layer = find_layers(model, None)[2]
    broken = layer.module.base_layer.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step(model, capture, data)
    assert all_train(model)
    broken.remove()
    step(model, capture, data)
    again = lora_model()
    run(again, Iga(tau=2.0), data)
    assert_same(gradients(model), gradients(again), 0.0)


def test_a_frozen_factor_stays_frozen() -> None:
    """As in LoRA-FA, which trains B alone."""
    model, data = lora_model(), batch(ORDERS["interleaved"])
    expected = {name: grad for name, grad in autograd(model, data).items() if "lora_B" in name}
    model.zero_grad()
    layers = find_layers(model, None)
    for layer in layers:
        layer.A.requires_grad_(False)
    run(model, Iga(tau=0.0, svd="none"), data)
    assert not any(layer.A.requires_grad for layer in layers)
    assert all(layer.A.grad is None for layer in layers)
    assert_same(gradients(model), expected)
