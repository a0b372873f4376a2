"""Loading causal language models: safetensors only, and no code from a repository unless asked for."""

from __future__ import annotations

from typing import Any

from isograd.common.errors import UserError

__all__ = ["load_causal_lm"]


def load_causal_lm(path: str, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """A model, in the dtype of its checkpoint, and its tokenizer.

    Args:
        path: a local folder or a hub id.
        trust_remote_code: let the repository run its own code.

    Raises:
        UserError: one of them cannot be loaded.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, use_safetensors=True, trust_remote_code=trust_remote_code, dtype="auto"
        )
        return model, AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(f"model {path!r} cannot be loaded: {' '.join(str(error).split())}") from None
