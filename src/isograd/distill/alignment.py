"""Where the aligned spans of a completion stand among the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isograd.common.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["span_tokens"]


def span_tokens(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, chat_template: str | None) -> list[int]:
    """Index, in the row's tokens, of the first token of each aligned span.

    Args:
        row: a prompt/completion row with ``spans``: ``[start, end]`` character pairs in the completion.
        tokenizer: a fast tokenizer.
        chat_template: the template with which the row was rendered; ``None`` is the tokenizer's own.

    Raises:
        UserError: the tokenizer has no offsets, the template alters the completion, or a span has no token of its own.
    """
    if not tokenizer.is_fast:
        raise UserError("the isomer-consistency term needs a fast tokenizer (one with character offsets)")
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(completion, str):
        text, content, special = prompt + completion, completion, True
    else:
        text = tokenizer.apply_chat_template(prompt + completion, tokenize=False, chat_template=chat_template)
        content, special = completion[-1]["content"], False
    shift = text.rfind(content)
    if shift < 0:
        raise UserError("the chat template alters the completion, so its aligned spans cannot be found in the tokens")
    offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=special)["offset_mapping"]
    return [_first_token(offsets, shift + start, shift + end, text) for start, end in row["spans"]]


def _first_token(offsets: Sequence[tuple[int, int]], start: int, end: int, text: str) -> int:
    for index, (first, last) in enumerate(offsets):
        # A token may begin before the span with the space that precedes it, as in " yes".
        if last > start and first < end and first >= start - 1 and last > first:
            return index
    raise UserError(f"no token begins with {text[start:end]!r} at character {start}: the tokenizer joins it to others")
