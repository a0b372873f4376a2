"""A Llama small enough for tests, with random weights of a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def tiny_llama(tokenizer: Any, **config: Any) -> LlamaForCausalLM:
    """For a tokenizer's words; seeds torch, so that adapters put on it afterwards are the same each time.

    Args:
        tokenizer: gives the size of the vocabulary and the special tokens.
        config: fields of ``LlamaConfig`` that differ.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return LlamaForCausalLM(LlamaConfig(**{**shape, **config}))
