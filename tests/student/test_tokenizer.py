"""The student's tokenizer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isograd.isomers import create_isomers
from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.isomers.symbolic.families import FAMILIES
from isograd.isomers.symbolic.generate import SPLITS
from isograd.isomers.symbolic.grammar import capitalized
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


PIECE = re.compile(r" ?\d| ?[A-Za-z']+|\n| ?[^\sA-Za-z\d]+|\s+")


def spelled(tokenizer: Any, texts: list[str]) -> set[str]:
    """The pieces of texts (a word, a digit, signs, a line end) that take more than one token."""
    pieces = {piece for text in texts for piece in PIECE.findall(text)}
    return {piece for piece in pieces if len(ids(tokenizer, piece)) != 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_word_of_every_member_is_one_token(tokenizer: Any, family: str) -> None:
    texts = []
    for split, kind in SPLITS.items():
        for depth in range(min(FAMILIES[family].depths), 5 - kind.extra_depth):
            for shuffled, distractors in ((False, 0), (True, 2)):
                told = create_isomers(
                    family,
                    seed=depth,
                    size=3,
                    split=split,
                    domains=domain_names(),
                    depth=depth,
                    distractors=distractors,
                    shuffled=shuffled,
                    cue="member",
                    noise=0.2,
                )
                texts += [member.prompt + member.completion for item in told for member in item.members]
    assert len(texts) > 500
    assert spelled(tokenizer, texts) == set()
    # Taken together, too: as many tokens as pieces.
    for text in texts[::50]:
        assert len(ids(tokenizer, text)) == len(PIECE.findall(text)), text


@pytest.mark.parametrize("name", domain_names())
@pytest.mark.parametrize("family", FAMILIES)
def test_every_word_of_every_domain_file_is_one_token(tokenizer: Any, family: str, name: str) -> None:
    """Words that a sample may not have drawn, where they can stand: first, after a word, before a comma."""
    domain, slots = load_domain(name), FAMILIES[family].slots
    texts = [f"x {cue}. x {cue}" for cue in domain.cues]
    for slot, spec in slots.items():
        for entry in domain.words[family][slot]:
            plain = re.sub(r"{\w+}", "x", entry) if spec.template else entry
            texts += [plain, f"x. {plain}."]
            if not spec.template:
                texts += [f"x {plain}, {plain}?", capitalized(plain), f"x. {capitalized(plain)} x", f"x\n{plain}"]
    assert len(texts) > 50
    assert spelled(tokenizer, texts) == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_and_options_are_single_tokens(tokenizer: Any, family: str) -> None:
    logic = FAMILIES[family]
    texts = [f"x {logic.options}?", f"x ({logic.options})?", *(f"Answer: {label}" for label in logic.labels)]
    assert spelled(tokenizer, texts) == set()


def test_a_word_that_no_domain_has_is_spelled_in_bytes(tokenizer: Any) -> None:
    assert spelled(tokenizer, ["The xylophone"]) == {" xylophone"}
    assert [tokenizer.decode([token]) for token in ids(tokenizer, "xylophone")] == list("xylophone")


def test_the_vocabulary_is_small(tokenizer: Any) -> None:
    assert 1500 < len(tokenizer) < 3000
    assert set(map(chr, range(33, 127))) <= set(tokenizer.get_vocab())


def test_digits_signs_and_line_ends_are_single_tokens(tokenizer: Any) -> None:
    assert [tokenizer.decode([token]) for token in ids(tokenizer, "17 + 5 - 13 = 9\n")] == [
        "1", "7", " +", " 5", " -", " 1", "3", " =", " 9", "\n",
    ]  # fmt: skip


def test_a_number_is_written_with_the_same_digits_everywhere(tokenizer: Any) -> None:
    for number in range(20):
        digits = [tokenizer.decode([token]).strip() for token in ids(tokenizer, f" {number} {number}")]
        assert "".join(digits) == f"{number}{number}"
        assert all(len(digit) <= 1 for digit in digits)


@pytest.mark.parametrize("family", FAMILIES)
def test_completions_of_members_have_aligned_tokens(tokenizer: Any, family: str) -> None:
    """The value of a step takes the same tokens in every domain, so distributions can be compared place by place."""
    for item in create_isomers(family, seed=3, size=20, cue="member", domains=domain_names()):
        for span in zip(*(member.spans for member in item.members), strict=True):
            told = set()
            for member, place in zip(item.members, span, strict=True):
                encoded = tokenizer(member.completion, return_offsets_mapping=True)
                inside = [
                    token
                    for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
                    if start < place.end and end > place.start
                ]
                assert inside
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
