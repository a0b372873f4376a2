"""Words, content words, templates and n-gram hashes; overlap."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.isomers.verify.overlap import jaccard, pairwise
from isograd.isomers.verify.text import STOP_WORDS, abstract, content_words, ngrams, normalize, words

TOKENS = st.lists(st.sampled_from("abcde"), max_size=30)


def test_words() -> None:
    assert words("Don’t pay $1,234.50 (or 3rd-rate 5%)!") == ["Don't", "pay", "1,234.50", "or", "3rd", "rate", "5"]
    assert words("ﬁne ２") == ["fine", "2"]
    assert words("5th 5three a_b 'quoted'") == ["5th", "5", "three", "a", "b", "quoted"]
    assert words(" ,;-_ ") == []


def test_content_words() -> None:
    text = "Mary's two hens didn't lay 12 eggs on the seventh day; the hens' pens don't matter to Mary."
    assert content_words(text) == {"mary", "hens", "lay", "eggs", "day", "pens", "matter"}
    assert content_words("It is the first of 20, and that's one.") == frozenset()


def test_stop_words_are_as_they_are_looked_up() -> None:
    assert all(normalize(word) == word for word in STOP_WORDS)


def test_normalize() -> None:
    assert normalize(" Each   “Cat”—it’s 3.5% of\nALL. ") == "each cat it's 3.5 of all"


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


def test_abstract() -> None:
    assert abstract("Mary Ann paid him $12.50 for twenty-five of her 3rd cakes.") == (
        *("@", "paid", "~", "#", "for", "#", "of", "~", "#", "cakes"),
    )
    assert abstract("Seven cats; the one cat 5 6") == ("#", "cats", "the", "#", "cat", "#", "#")
    assert abstract("so they’re late, he'll say") == ("so", "~", "late", "~", "say")


SAME = [
    ("Then Bob has 5 apples.", "Then Mary Ann Smith has 1,200 apples."),
    ("We saw twelve dogs run.", "We saw 37 dogs run."),
    ("We saw twenty-five dogs.", "We saw 3 dogs."),
    ("In the end he fed his cat.", "In the end she fed her cat."),
    ("So Tom says he's late.", "So Ann says she's late."),
    ("Bob's cat ran off.", "James' cat ran off."),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_numbers_names_and_pronouns_do_not_change_the_template(first: str, second: str) -> None:
    assert abstract(first) == abstract(second)


@pytest.mark.parametrize("change", ["We saw 12 cats run.", "We saw 12 dogs.", "We saw the dogs run."])
def test_other_words_do(change: str) -> None:
    assert abstract("We saw 12 dogs run.") != abstract(change)


@given(TOKENS, st.integers(1, 8))
def test_ngrams_are_equal_iff_their_tokens_are(tokens: list[str], n: int) -> None:
    hashes = list(ngrams(tokens, n))
    runs = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    assert len(hashes) == len(runs)
    assert len(set(zip(hashes, runs, strict=True))) == len(set(hashes)) == len(set(runs))
    assert all(0 <= value < 1 << 61 for value in hashes)


@given(TOKENS, TOKENS)
def test_ngrams_do_not_depend_on_what_stands_before(before: list[str], tokens: list[str]) -> None:
    assert list(ngrams([*before, *tokens], 3))[len(before) :] == list(ngrams(tokens, 3)) or len(tokens) < 3


def test_ngrams_are_the_same_in_every_process() -> None:
    code = "from isograd.isomers.verify.text import ngrams; print(list(ngrams(['what', 'is', 'this'], 2)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(list(ngrams(["what", "is", "this"], 2)))


def test_jaccard() -> None:
    assert jaccard("The red cat sat.", "A red dog sat!") == 2 / 4
    assert jaccard("The red cat.", "the RED cat") == 1
    assert jaccard("red", "blue") == 0
    assert jaccard("the", "") == 1
    assert jaccard("the", "cat") == 0


@given(st.text("ab c", max_size=20), st.text("ab c", max_size=20))
def test_jaccard_is_symmetric_and_a_share(first: str, second: str) -> None:
    assert jaccard(first, second) == jaccard(second, first)
    assert 0 <= jaccard(first, second) <= 1
    assert jaccard(first, first) == 1


def test_pairwise() -> None:
    texts = {"law": "court judge", "sport": "court player", "cooking": "pan"}
    assert pairwise(texts) == {("law", "sport"): 1 / 3, ("law", "cooking"): 0.0, ("sport", "cooking"): 0.0}
    assert pairwise({"law": "court"}) == {}
