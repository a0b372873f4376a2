from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from isograd.common.errors import UserError
from isograd.distill.alignment import span_tokens
from isograd.isomers import IsomerSet, to_rows
from tests.distill.conftest import MakeTrainer

TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|end|>\n{% endfor %}"
OPTIONS_FIRST = "{% if tools %}tools {{ tools }} \n{% endif %}{% if note %}{{ note }} \n{% endif %}" + TEMPLATE


def spelled(row: dict[str, Any], ids: list[int], places: list[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [tokenizer.decode(ids[place:]).lstrip() for place in places]


def test_tokens_begin_the_values(sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase) -> None:
    rows = to_rows(sets)
    assert len(rows) == 48
    for row in rows:
        ids = tokenizer(row["prompt"] + row["completion"]).input_ids
        places = span_tokens({**row, "input_ids": ids}, tokenizer, None)
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
    places = span_tokens({**chat, "input_ids": ids}, tokenizer, TEMPLATE)
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
    row = {"prompt": "x\n", "completion": "Answer: yes", "spans": [[9, 11]], "input_ids": []}
    with pytest.raises(UserError, match="no token begins with 'es'"):
        span_tokens(row, tokenizer, None)


@pytest.mark.parametrize("options", [{"tools": "[]"}, {"chat_template_kwargs": {"note": "Answer: no"}}, {}])
def test_tokens_of_chats_as_the_trainer_renders_them(
    make_trainer: MakeTrainer,
    sets: list[IsomerSet],
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", OPTIONS_FIRST)
    if "tools" in options:
        options = {"tools": '[{"type": "function", "function": {"name": "add"}}]'}
    rows = [
        {
            **row,
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["completion"]}],
            **options,
        }
        for row in to_rows(sets[:2])
    ]
    trainer = make_trainer(data=Dataset.from_list(rows), consistency="js", consistency_at="all")
    for row, plain in zip(trainer.train_dataset, to_rows(sets[:2]), strict=True):
        assert tokenizer.decode(row["input_ids"]).startswith(("tools", "Answer: no")) == bool(options)
        assert len(row["aligned"]) == len(plain["spans"])
        for text, (start, _end) in zip(
            spelled(row, row["input_ids"], row["aligned"], tokenizer), plain["spans"], strict=True
        ):
            assert text.startswith(plain["completion"][start:])


def test_other_tokens_than_those_of_the_row_are_refused(
    sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase
) -> None:
    row = to_rows(sets)[0]
    ids = tokenizer(row["prompt"] + row["completion"]).input_ids
    with pytest.raises(UserError, match="input_ids of a row are not those"):
        span_tokens({**row, "input_ids": [ids[-1], *ids]}, tokenizer, None)
    last = span_tokens({**row, "input_ids": ids}, tokenizer, None)[-1]
    with pytest.raises(UserError, match="max_length cuts off"):
        span_tokens({**row, "input_ids": ids[:last]}, tokenizer, None)


def test_a_row_without_spans_is_refused(sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase) -> None:
    row = to_rows(sets)[0]
    ids = tokenizer(row["prompt"] + row["completion"]).input_ids
    with pytest.raises(UserError, match="a row has no aligned spans"):
        span_tokens({**row, "spans": [], "input_ids": ids}, tokenizer, None)
