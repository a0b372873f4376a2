"""The student's tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isograd.isomers import create_isomers
from isograd.isomers.symbolic.arithmetic import THRESHOLD, Arithmetic
from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.student.tokenizer import BOS, EOS, PAD, build_tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from(
        ["7", "12", " ", "  ", "\n", "\t", "\r\n", "+", " = ", "Answer:", "ä", "🙂", "'s", "apples", "\xa0"]
    )
).map("".join)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(128)


def ids(tokenizer: Any, text: str) -> list[int]:
    """Without the begin mark."""
    begin, *rest = tokenizer(text)["input_ids"]
    assert begin == tokenizer.bos_token_id
    return rest


@given(text=TEXT)
@example(text="")
@example(text=" a  b\n\n c ")
def test_any_text_comes_back_exactly(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize("name", domain_names())
def test_every_word_of_every_domain_is_one_token(tokenizer: Any, name: str) -> None:
    domain = load_domain(name)
    words = {f" {word}" for word in domain.cues.values()}
    section = domain.words["arithmetic"]
    fillings = {"n": 7, "threshold": THRESHOLD}
    fillings |= {slot: section[slot][0] for slot, spec in Arithmetic.slots.items() if not spec.template}
    for slot, spec in Arithmetic.slots.items():
        for entry in section[slot]:
            first, *rest = entry.format(**fillings).removesuffix("?").replace(",", "").split()
            # A template begins a text; a word of a list always follows another word.
            words |= {first if spec.template else f" {first}", f" {first}", *(f" {word}" for word in rest)}
    words = {word for word in words if not word.strip().isdigit()}
    split = {word: tokenizer.tokenize(word) for word in words if len(ids(tokenizer, word)) != 1}
    assert len(words) > 100
    assert split == {}


def test_digits_signs_and_line_ends_are_single_tokens(tokenizer: Any) -> None:
    assert [tokenizer.decode([token]) for token in ids(tokenizer, "17 + 5 - 13 = 9\n")] == [
        "1", "7", " +", " 5", " -", " 1", "3", " =", " 9", "\n",
    ]  # fmt: skip


def test_a_number_is_written_with_the_same_digits_everywhere(tokenizer: Any) -> None:
    for number in range(20):
        digits = [tokenizer.decode([token]).strip() for token in ids(tokenizer, f" {number} {number}")]
        assert "".join(digits) == f"{number}{number}"
        assert all(len(digit) <= 1 for digit in digits)


def test_completions_of_members_have_aligned_tokens(tokenizer: Any) -> None:
    """The value of a step takes the same tokens in every domain, so distributions can be compared place by place."""
    for item in create_isomers(seed=3, size=30, cue="member", domains=domain_names()):
        for span in zip(*(member.spans for member in item.members), strict=True):
            told = set()
            for member, place in zip(item.members, span, strict=True):
                encoded = tokenizer(member.completion, return_offsets_mapping=True)
                inside = [
                    token
                    for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
                    if start < place.end and end > place.start
                ]
                told.add(tuple(inside))
            assert len(told) == 1


def test_special_tokens_and_padding(tokenizer: Any) -> None:
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == (PAD, BOS, EOS)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    batch = tokenizer(["7", "7 + 5"], padding=True)
    assert batch["input_ids"][0][:-2] == [0] * (len(batch["input_ids"][1]) - 2)
    assert batch["attention_mask"][0][-2:] == [1, 1]
    assert tokenizer.model_max_length == 128


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        build_tokenizer(128).save_pretrained(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert "tokenizer.json" in files
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
