"""Batched greedy generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["generate_greedy"]


@torch.no_grad()
def generate_greedy(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Complete each prompt greedily; a batch ends as soon as all its rows have ended.

    Prompts of similar length share a batch (less padding); the result is in the order given and depends on neither
    batch size nor order, up to floating-point ties.

    Args:
        model: a causal LM, PEFT-wrapped or not.
        tokenizer: its tokenizer; padding is added on the left.
        prompts: plain texts.
        max_new_tokens: longest completion, in tokens.
        batch_size: prompts in one forward pass.
        progress: called with (prompts done, prompts in all).

    Returns:
        The completions, without special tokens.
    """
    if not prompts:
        return []
    was_training, side = model.training, tokenizer.padding_side
    model.eval()
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        encoded = tokenizer(list(prompts))["input_ids"]
        order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
        texts = [""] * len(prompts)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = tokenizer.pad({"input_ids": [encoded[row] for row in rows]}, return_tensors="pt").to(model.device)
            output = model.generate(
                **batch,
                do_sample=False,
                num_beams=1,
                # A checkpoint may bring penalties of its own, which would not be greedy.
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
            written = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for row, text in zip(rows, written, strict=True):
                texts[row] = text
            if progress is not None:
                progress(min(start + batch_size, len(order)), len(order))
        return texts
    finally:
        tokenizer.padding_side = side
        model.train(was_training)
