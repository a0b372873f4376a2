"""Whole groups at once: the prompt of a group is read once, not once for each of its completions.

The completions of a group follow the same prompt. A causal model's keys and values of that prompt are the same for all
of them, so one row a group computes them and the completions go on from copies, with gradients flowing back through the
copies into the one row. With prompts of P and completions of T tokens in groups of G, P + G * T tokens are computed
where TRL computes G * (P + T).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from isograd.common.errors import UserError

__all__ = ["prefilled_generation", "score_completions", "share_a_prompt"]


def share_a_prompt(ids: Int[Tensor, "R P"], mask: Int[Tensor, "R P"], size: int) -> bool:
    """Whether every ``size`` consecutive rows hold one and the same prompt, of two tokens or more."""
    if size < 2 or len(ids) % size or ids.shape[1] < 2:
        return False
    first = torch.arange(0, len(ids), size, device=ids.device).repeat_interleave(size)
    return bool(torch.equal(ids, ids[first]) and torch.equal(mask, mask[first]))


def _copies(cache: Any, size: int) -> Any:
    if not hasattr(cache, "batch_repeat_interleave"):
        raise UserError("share_prompts needs a model with a key-value cache; set it to False")
    cache.batch_repeat_interleave(size)
    return cache


def score_completions(
    model: Any, backbone: Any, ids: Int[Tensor, "R L"], mask: Int[Tensor, "R L"], completion: int, size: int
) -> Any:
    """Score completions after prompts that groups of ``size`` rows share.

    Args:
        model: called for the completions, with TRL's fused head.
        backbone: called for the prompts, the same model without distributed wrappers.
        ids, mask: prompts, padded on the left, with their completions, padded on the right.
        completion: the width of the completions, T.
        size: rows with the same prompt.

    Returns:
        TRL's ``FusedCausalLMOutput``; the last T columns of its ``log_probs`` and ``entropy`` ([R, T + 1]) belong to
        the completions.

    Raises:
        UserError: the model has no key-value cache.
    """
    # The last token of the prompt is read with each completion: its output predicts the completion's first token.
    width = ids.shape[1] - completion - 1
    prompts = backbone(
        input_ids=ids[::size, :width], attention_mask=mask[::size, :width], use_cache=True, logits_to_keep=1
    )
    rows = ids[:, width:]
    labels = rows.masked_fill(mask[:, width:] == 0, -100)
    labels[:, 0] = -100
    cache = _copies(prompts.past_key_values, size)
    return model(input_ids=rows, attention_mask=mask, past_key_values=cache, labels=labels, fused_lm_head=True)


@contextmanager
def prefilled_generation(model: Any, size: int) -> Iterator[None]:
    """While inside, ``model.generate`` reads a prompt that ``size`` consecutive rows share once.

    What is generated is the same: the generator is asked for the same draws.

    Args:
        model: has ``generate`` and a key-value cache.
        size: rows with the same prompt; rows that do not share are generated as ever.
    """
    generate = model.generate

    def prefilled(**inputs: Any) -> Any:
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        if share_a_prompt(ids, mask, size):
            # As generate() counts positions: padding has none.
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            prompts = model(
                input_ids=ids[::size, :-1],
                attention_mask=mask[::size, :-1],
                position_ids=positions[::size, :-1],
                use_cache=True,
                logits_to_keep=1,
            )
            inputs["past_key_values"] = _copies(prompts.past_key_values, size)
        return generate(**inputs)

    model.generate = prefilled
    try:
        yield
    finally:
        del model.generate
