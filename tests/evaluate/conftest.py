"""A tiny random student and small sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isograd.isomers import IsomerSet, create_isomers

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@pytest.fixture(scope="session")
def _trained_tokenizer() -> Any:
    from isograd.student.tokenizer import build_tokenizer

    return build_tokenizer(256)


@pytest.fixture
def tokenizer(_trained_tokenizer: Any) -> Any:
    """The student's tokenizer; a copy, so that tests may change it."""
    import copy

    return copy.deepcopy(_trained_tokenizer)


@pytest.fixture
def model(tokenizer: Any) -> LlamaForCausalLM:
    """An untrained Llama, in training mode."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        # Large enough for the greedy choice to be clear and to depend on the whole prompt.
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).train()


@pytest.fixture(scope="session")
def sets() -> list[IsomerSet]:
    """Six sets in two domains."""
    return list(create_isomers(seed=1, size=6, domains=["law", "cooking"], cue="member"))
