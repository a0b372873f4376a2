"""Where the aligned spans of a completion stand among the tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isograd.common.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["span_tokens"]


def span_tokens(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, chat_template: str | None) -> list[int]:
    """Index, in the row's tokens, of the first token of each aligned span.

    Args:
        row: a prompt/completion row that TRL has tokenized: with ``input_ids``, and ``spans``: ``[start, end]``
            character pairs in the completion. A chat may have ``tools`` and ``chat_template_kwargs``.
        tokenizer: a fast tokenizer.
        chat_template: the template with which the row was rendered; ``None`` is the tokenizer's own.

    Raises:
        UserError: no spans, a tokenizer without offsets, a template that alters the completion, a span without a token
            of its own or beyond the tokens of the row, or a row that was tokenized in another way.
    """
    if not tokenizer.is_fast:
        raise UserError("the isomer-consistency term needs a fast tokenizer (one with character offsets)")
    if not row["spans"]:
        raise UserError("a row has no aligned spans for the isomer-consistency term; leave its set out")
    text, content, special = _rendered(row, tokenizer, chat_template)
    shift = text.rfind(content)
    if shift < 0:
        raise UserError("the chat template alters the completion, so its aligned spans cannot be found in the tokens")
    tokens = tokenizer(text, return_offsets_mapping=True, add_special_tokens=special)
    places = [_first_token(tokens["offset_mapping"], shift + start, shift + end, text) for start, end in row["spans"]]
    end = max(places) + 1
    if end > len(row["input_ids"]):
        raise UserError("max_length cuts off aligned spans; raise it")
    if list(tokens["input_ids"][:end]) != list(row["input_ids"][:end]):
        raise UserError(
            "the input_ids of a row are not those of its prompt and completion, so its aligned spans cannot be found "
            "in them; leave input_ids out, or use a chat template that renders a chat the same way each time"
        )
    return places


def _rendered(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, chat_template: str | None
) -> tuple[str, str, bool]:
    """The row's text as TRL renders it, the completion in it, and whether special tokens are added to it."""
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(completion, str):
        return prompt + completion, completion, True
    tools = row.get("tools")
    options = {
        "chat_template": chat_template,
        "tools": json.loads(tools) if isinstance(tools, str) else tools,
        **row.get("chat_template_kwargs", {}),
    }
    text: Any = tokenizer.apply_chat_template(prompt + completion, tokenize=False, **options)
    return text, completion[-1]["content"], False


def _first_token(offsets: Sequence[tuple[int, int]], start: int, end: int, text: str) -> int:
    for index, (first, last) in enumerate(offsets):
        # A token may begin before the span with the space that precedes it, as in " yes".
        if last > start and first < end and first >= start - 1 and last > first:
            return index
    raise UserError(f"no token begins with {text[start:end]!r} at character {start}: the tokenizer joins it to others")
