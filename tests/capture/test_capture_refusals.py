"""What cannot be exact is refused, with one line that names the place and the mend; misuse too."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from capture_models import LLAMA_TARGETS, batch, domain_losses, factors, lora_model
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from isograd.capture import DomainCapture
from isograd.common.errors import UserError
from isograd.gradients import Iga

K = 4
LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def capture_of(model: nn.Module, **options: object) -> DomainCapture:
    return DomainCapture(model, Iga(), num_domains=K, **options)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


def two_adapters() -> nn.Module:
    model = lora_model()
    model.add_adapter("other", LoraConfig(r=2, target_modules=LLAMA_TARGETS))
    return model


class TestModels:
    @pytest.mark.parametrize(
        ("lora", "message"),
        [
            ({"lora_dropout": 0.1}, f"layer {LAYER}: LoRA dropout .*; set lora_dropout=0"),
            ({"use_dora": True}, f"layer {LAYER}: DoRA.*; set use_dora=False"),
            ({"lora_bias": True, "architecture": "gpt2"}, "layer .*c_attn: a bias on lora_B .*; set lora_bias=False"),
            ({"alora_invocation_tokens": [3]}, f"layer {LAYER}: the LoRA variant ALoraLinearVariant .*; use plain"),
            ({"target_modules": ["embed_tokens"]}, "layer .*embed_tokens: LoRA on a Embedding .*target_modules"),
            ({"modules_to_save": ["lm_head"]}, "parameter .*lm_head.modules_to_save.* trains but .*; freeze it"),
            ({"bias": "all", "architecture": "gpt2"}, "parameter .*bias trains but is no LoRA factor .*; freeze it"),
        ],
    )
    def test_configurations(self, lora: dict[str, object], message: str) -> None:
        assert re.match(message, refusal(lambda: capture_of(lora_model(**lora))))

    def test_convolutions(self) -> None:
        model = get_peft_model(nn.Sequential(nn.Conv1d(2, 3, 1)), LoraConfig(target_modules=["0"]))
        assert "LoRA on a Conv1d cannot be captured" in refusal(lambda: capture_of(model))

    def test_target_parameters(self) -> None:
        model = get_peft_model(nn.Sequential(nn.Linear(2, 3)), LoraConfig(target_parameters=["0.weight"]))
        assert "LoRA on a ParamWrapper cannot be captured" in refusal(lambda: capture_of(model))

    def test_adapters(self) -> None:
        model = two_adapters()
        assert "adapter 'other' is not the active one" in refusal(lambda: capture_of(model, adapter="other"))
        assert "adapter 'nine' is not the active one" in refusal(lambda: capture_of(model, adapter="nine"))
        model.set_adapter("other")
        assert {layer.adapter for layer in capture_of(model).layers} == {"other"}
        model.base_model.set_adapter(["default", "other"])
        assert "adapters ['default', 'other'] are active at once" in refusal(lambda: capture_of(model))

    def test_merged_adapters_before_and_after(self) -> None:
        model, data = lora_model(), batch([0, 1, 2, 3])
        capture = capture_of(model)
        model.merge_adapter()
        assert "is merged into the base weight; call model.unmerge_adapter()" in refusal(lambda: capture_of(model))
        assert "is merged" in refusal(lambda: capture.micro_batch(data["domains"]).__enter__())

    def test_shared_factors(self) -> None:
        model = lora_model(target_modules=["q_proj", "o_proj"])
        attention = model.get_submodule("base_model.model.model.layers.0.self_attn")
        attention.o_proj.lora_A = attention.q_proj.lora_A
        assert "shares its factors with" in refusal(lambda: capture_of(model))

    def test_no_lora(self) -> None:
        assert "the model has no LoRA layers" in refusal(lambda: capture_of(nn.Linear(2, 2)))

    def test_half_precision_steps(self) -> None:
        model = lora_model(dtype=torch.bfloat16)
        method = Iga(projection="retraction")
        text = refusal(lambda: DomainCapture(model, method, num_domains=K))
        assert f"layer {LAYER}: its factors are torch.bfloat16, in which the steps" in text
        capture_of(model)  # an optimizer may keep what a step rounds away
        DomainCapture(lora_model(dtype=torch.float32), method, num_domains=K)

    def test_one_domain(self) -> None:
        assert "num_domains is 1" in refusal(lambda: DomainCapture(lora_model(), Iga(), num_domains=1))


class Toy(nn.Module):
    """Two linear layers, of which a test may use one twice, not at all, or on other rows."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor, path: str) -> Tensor:
        if path == "twice":
            return self.one(self.one(x))
        if path == "flat":
            return self.one(x.flatten(0, 1))
        if path == "skip":
            return self.one(x)
        return self.two(self.one(x))


def toy() -> nn.Module:
    torch.manual_seed(0)
    return get_peft_model(Toy(), LoraConfig(r=2, target_modules=["one", "two"], init_lora_weights=False))


def step(model: nn.Module, capture: DomainCapture, path: str = "both") -> None:
    with capture.micro_batch(torch.arange(K)):
        model(torch.ones(K, 2, 3), path=path).square().mean().backward()


class TestPasses:
    def test_a_layer_that_runs_twice(self) -> None:
        model = toy()
        capture = capture_of(model)
        assert "layer base_model.model.one: ran twice in one pass" in refusal(lambda: step(model, capture, "twice"))
        step(model, capture)  # and it recovers
        capture.write_gradients()

    def test_rows_that_are_not_rows(self) -> None:
        model = toy()
        assert "does not begin with the 4 rows" in refusal(lambda: step(model, capture_of(model), "flat"))

    def test_a_layer_left_out_gets_no_gradient(self) -> None:
        model = toy()
        capture = capture_of(model)
        step(model, capture, "skip")
        capture.write_gradients()
        for name, parameter in factors(model).items():
            assert (parameter.grad is None) == (".two." in name)

    def test_backward_outside_of_the_block(self) -> None:
        model = toy()
        capture = capture_of(model)
        with capture.micro_batch(torch.arange(K)):
            loss = model(torch.ones(K, 2, 3), path="both").sum()
        assert "backward ran outside of its micro_batch block" in refusal(loss.backward)

    def test_no_backward(self) -> None:
        capture = capture_of(toy())
        assert "no captured gradients" in refusal(capture.write_gradients)
        with capture.micro_batch(torch.arange(K)):
            pass
        assert "no captured gradients" in refusal(capture.write_gradients)

    def test_an_unfinished_window(self) -> None:
        model = toy()
        capture = capture_of(model)
        with capture.micro_batch(torch.arange(K), last=False):
            model(torch.ones(K, 2, 3), path="both").sum().backward()
        assert "no captured gradients" in refusal(capture.write_gradients)
        other = capture_of(model)
        assert "without an open window" in refusal(other.micro_batch(torch.arange(K), first=False).__enter__)

    @pytest.mark.parametrize(
        ("domains", "message"),
        [
            ([0, 1, 2, 4], "domains holds 4; indices go from 0 to 3"),
            ([0, -1, 2, 3], "domains holds -1; indices go from 0 to 3"),
            ([[0, 1], [2, 3]], "domains has shape (2, 2)"),
            ([], "domains has shape (0,)"),
            ([0.0, 1.0], "dtype torch.float32; give one integer domain index per row"),
            ([0, 1, 3, 3], "domain 2 has no row in this optimizer step"),
        ],
    )
    def test_domains(self, domains: list, message: str) -> None:
        capture = capture_of(toy())
        assert message in refusal(capture.micro_batch(torch.tensor(domains)).__enter__)

    def test_an_error_in_the_block_passes_through_and_drops_the_window(self) -> None:
        model = toy()
        capture = capture_of(model)

        def interrupted() -> None:
            with capture.micro_batch(torch.arange(K)):
                model(torch.ones(K, 2, 3), path="both").sum().backward()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert "no captured gradients" in refusal(capture.write_gradients)
        assert "without an open window" in refusal(capture.micro_batch(torch.arange(K), first=False).__enter__)

    def test_hooks_are_inert_outside_and_gone_after_remove(self) -> None:
        model, data = lora_model(), batch([0, 1, 2, 3])
        capture = capture_of(model)
        domain_losses(model, data, K).mean().backward()
        with capture.micro_batch(data["domains"]), torch.no_grad():
            domain_losses(model, data, K)
        model.enable_input_require_grads()  # so that there is a backward pass without adapters
        with capture.micro_batch(data["domains"]), model.disable_adapter():
            domain_losses(model, data, K).mean().backward()
        assert "no captured gradients" in refusal(capture.write_gradients)
        capture.remove()
        model.disable_input_require_grads()
        assert not any(module._forward_hooks for module in model.modules())

    def test_writing_clears(self) -> None:
        model = toy()
        capture = capture_of(model)
        step(model, capture)
        capture.write_gradients()
        assert "no captured gradients" in refusal(capture.write_gradients)
