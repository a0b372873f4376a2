from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from isograd.common.errors import UserError
from isograd.distill.alignment import span_tokens
from isograd.isomers import IsomerSet, to_rows

TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|end|>\n{% endfor %}"


def spelled(row: dict[str, Any], ids: list[int], places: list[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [tokenizer.decode(ids[place:]).lstrip() for place in places]


def test_tokens_begin_the_values(sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase) -> None:
    rows = to_rows(sets)
    assert len(rows) == 48
    for row in rows:
        ids = tokenizer(row["prompt"] + row["completion"]).input_ids
        places = span_tokens(row, tokenizer, None)
        for text, (start, _end) in zip(spelled(row, ids, places, tokenizer), row["spans"], strict=True):
            assert text == row["completion"][start:]


def test_tokens_of_a_chat(sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase) -> None:
    row = to_rows(sets)[0]
    completion = row["completion"]
    chat = {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": completion}],
        "spans": row["spans"],
    }
    text = tokenizer.apply_chat_template(chat["prompt"] + chat["completion"], tokenize=False, chat_template=TEMPLATE)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    places = span_tokens(chat, tokenizer, TEMPLATE)
    for found, (start, _end) in zip(spelled(chat, ids, places, tokenizer), row["spans"], strict=True):
        assert found.startswith(completion[start:])


def test_a_template_that_alters_the_completion_is_refused(
    sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase
) -> None:
    row = to_rows(sets)[0]
    chat = {
        "prompt": [{"role": "user", "content": "x"}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
        "spans": row["spans"],
    }
    with pytest.raises(UserError, match="alters the completion"):
        span_tokens(chat, tokenizer, "{% for m in messages %}{{ m.content | upper }}{% endfor %}")


def test_a_span_inside_a_token_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    row = {"prompt": "x\n", "completion": "Answer: yes", "spans": [[9, 11]]}
    with pytest.raises(UserError, match="no token begins with 'es'"):
        span_tokens(row, tokenizer, None)
