"""Logits at a few places are the model's own, also where an architecture scales or caps them."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    set_seed,
)

from isograd.distill.hidden import final_states
from isograd.distill.loss import OutputRecorder, head_logits, sum_by_domain

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "gpt2": GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2),
    "gemma2, capped": Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=0.05),
    "cohere2, scaled": Cohere2Config(**SMALL, logit_scale=0.25),
    "granite, divided": GraniteConfig(**SMALL, logits_scaling=8.0),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_head_logits_are_the_model_s_own(name: str) -> None:
    set_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
    ids = torch.randint(3, 40, (3, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), final_states(model) as states:
        wanted = model(ids).logits
    (hidden,) = states
    assert wanted.abs().max() > 1e-3
    assert torch.allclose(head_logits(model, hidden), wanted, atol=1e-6)


def test_sums_by_domain() -> None:
    values = torch.tensor([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    assert sum_by_domain(values, torch.tensor([2, 0, 2]), 3).tolist() == [12.0, 0.0, 51.0]


def test_a_recorder_is_called_like_the_model_and_keeps_the_output() -> None:
    recorder = OutputRecorder(torch.nn.Linear(2, 1))
    out = recorder(torch.ones(1, 2))
    assert recorder.outputs is out
