"""Replies into objects: what counts, what does not, and that no text makes it raise."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from isograd.isomers.teacher.messages import Reply
from isograd.isomers.teacher.structured import Unusable, parse_structured


class Step(BaseModel):
    text: str
    value: int


class Chain(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["chain"]
    steps: tuple[Step, ...]
    rest: Any = None


GOOD = {"kind": "chain", "steps": [{"text": 'a "quoted" } ``` brace', "value": 1}, {"text": "ü\n", "value": 2}]}
TEXT = json.dumps(GOOD)


def reply(text: str, finish: str = "stop") -> Reply:
    return Reply(text, None, finish, 10, 20, 0.1, 1)


def kind(text: str, finish: str = "stop") -> str:
    found = parse_structured(reply(text, finish), Chain)
    return found.kind if isinstance(found, Unusable) else "good"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"\ufeff\n {json.dumps(GOOD, indent=2)} \n",
        f"Here:\n```json\n{TEXT}\n```\nDone.",
        f"```\n{json.dumps(GOOD, indent=1, ensure_ascii=False)}\n```",
        f'Draft:\n```json\n{{"kind": "chain"}}\n```\nCorrected:\n```json\n{TEXT}\n```',
        f"The answer is {TEXT}. I hope that helps.",
        f"```json {TEXT} ```",
        TEXT[:-1] + ",}",  # a comma too many
        TEXT.replace('"kind"', "kind"),
        TEXT[:-1],  # the last brace forgotten, and the server says that the answer is whole
    ],
)
def test_what_is_read(text: str) -> None:
    found = parse_structured(reply(text), Chain)
    assert isinstance(found, Chain)
    assert [step.value for step in found.steps] == [1, 2]


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        ("", "length", "truncated"),
        ("", "content_filter", "refused"),
        (TEXT, "length", "good"),  # whole although the limit was reached
        (TEXT[:-1], "length", "truncated"),  # json-repair would make it whole
        (TEXT[:60], "length", "truncated"),
        (f"```json\n{TEXT}\n```", "length", "good"),
        (f"```json\n{TEXT}\n```\nBut wait", "length", "truncated"),
        (f"Draft: {TEXT} Final: {TEXT[:20]}", "length", "truncated"),
        ("12", "length", "truncated"),  # perhaps of 123
        ("I'm sorry, but I cannot do that.", "stop", "refused"),
        ("As an AI I will not.", "stop", "refused"),
        ("I can't help with that.", "refusal", "refused"),
        ("Let me think about premises.", "stop", "not_json"),
        ("{" * 500, "stop", "not_json"),
        ('{"kind": "tree", "steps": []}', "stop", "wrong_shape"),
        ("[1, 2]", "stop", "wrong_shape"),
        ("null", "stop", "wrong_shape"),
        ("12", "stop", "wrong_shape"),
        ('{"kind": NaN}', "stop", "wrong_shape"),
        ('{"kind": "\\ud800"}', "stop", "not_json"),
    ],
)
def test_kinds(text: str, finish: str, expected: str) -> None:
    assert kind(text, finish) == expected


def test_details_name_the_path() -> None:
    bad = {"kind": "chain", "steps": [{"text": "a", "value": 1}, {"text": "b", "value": "many"}], "extra": 1}
    found = parse_structured(reply(json.dumps(bad)), Chain)
    assert isinstance(found, Unusable)
    assert found.kind == "wrong_shape"
    assert "steps.1.value: " in found.detail
    assert "extra: " in found.detail
    assert "\n" not in found.detail


def test_numbers_are_not_forged() -> None:
    """What json-repair returns is validated like anything else."""
    assert kind('{"kind": "chain", "steps": [{"text": "a", "value": many}]}') == "wrong_shape"


@pytest.mark.parametrize("finish", ["stop", "length", "unknown"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"rest":' * 100_000,
        '{"kind": "chain", "steps": [], "rest": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"kind": "chain", "steps": [], "rest": ' + "[" * 150 + "]" * 150 + "}",
        "word " * 200_000,
        '{"a": "' + "x" * 1_000_000,
        '"' * 300_000,
        "```\n" * 100_000,
        "```json\n{" * 20_000,
        "{}" * 200_000,
        "9" * 100_000,
        '{"kind": "chain", "steps": [' + '{"text": 1},' * 50_000 + "{}]}",
        '{"kind": "chain", "steps": [' + '{"text": "a", "value": 1},' * 30_000 + '{"text": "a", "value": 1}]}',
        ('{"a": 1 b, ' * 5000)[:49_000],
        '{"a": ' + '"b\\" c" d' * 5000,
        "{" + "a: 'b', " * 6000,
    ],
    ids=range(16),
)
def test_large_and_deep_texts_end_soon(text: str, finish: str) -> None:
    start = time.process_time()
    found = parse_structured(reply(text, finish), Chain)
    seconds = time.process_time() - start
    if isinstance(found, Unusable):
        assert len(found.detail) < 400
    assert seconds < 20, seconds


WORDS = ["```", "```json\n", "1e999", "NaN", "null", "tru", "//", "/*", "\\ud800", '"kind": "chain"', '"steps": []']
PIECES = st.sampled_from([*"{}[]\"',:\\-\n\x00\ud800\u2028é", *WORDS, TEXT, TEXT[:30]])


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(), st.sampled_from(["stop", "length", "", "refusal"]))
def test_no_text_makes_it_raise(text: str, finish: str) -> None:
    found = parse_structured(reply(text, finish), Chain)
    assert isinstance(found, Chain | Unusable)
    if isinstance(found, Unusable):
        assert len(found.detail.splitlines()) <= 1


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=10)
)
def test_any_json_comes_back(rest: Any) -> None:
    whole = GOOD | {"rest": rest}
    found = parse_structured(reply(f"```json\n{json.dumps(whole, indent=1)}\n```"), Chain)
    assert isinstance(found, Chain)
    assert found.rest == rest
