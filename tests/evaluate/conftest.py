"""A tiny random student and small sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.tiny import tiny_llama

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
    # Weights large enough for the greedy choice to be clear and to depend on the whole prompt.
    return tiny_llama(tokenizer, num_hidden_layers=3, max_position_embeddings=256, initializer_range=0.5).train()


@pytest.fixture(scope="session")
def sets() -> list[IsomerSet]:
    """Six sets in two domains."""
    return list(create_isomers(seed=1, size=6, domains=["law", "cooking"], cue="member"))
