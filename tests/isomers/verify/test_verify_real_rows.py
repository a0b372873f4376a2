"""Real benchmark rows, reworded and against each other: what the leakage index catches and what it leaves alone."""

from __future__ import annotations

import re
from collections import Counter
from itertools import cycle
from pathlib import Path

import pytest

from isograd.isomers import create_isomers
from isograd.isomers.questions import iter_questions
from isograd.isomers.verify.leakage import LEAST_TEMPLATE, EvaluationItem, LeakageIndex, LeakReason, graph_key
from isograd.isomers.verify.text import abstract, ngrams, normalize

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
FILES = {path.parent.name: path for path in sorted(DATA.glob("*/sample.jsonl"))}

pytestmark = pytest.mark.skipif(not FILES, reason=f"no benchmark rows in {DATA}")

SPELLED = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty"]
NAMES = ["Anneliese", "Bartholomew", "Mary Ann", "Oyelaran", "Dmitri", "Xiu", "Kwame Mensah"]
SWAPPED = {"he": "she", "she": "he", "his": "her", "her": "his", "him": "her"}


def other_numbers(text: str) -> str:
    """Each number by another: digits by digits or words, number words by number words or digits."""
    fresh = cycle(["37", "1,250", "eight", "4.75", "sixteen", "902"])
    pattern = rf"\b(?:\d+(?:[.,]\d+)*|{'|'.join(SPELLED)})\b"
    return re.sub(pattern, lambda _: next(fresh), text, flags=re.IGNORECASE)


def other_names(text: str) -> str:
    """Each word that has a capital in the middle of a sentence by a name, everywhere; he by she."""
    found = dict.fromkeys(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+\b", text))
    names = dict(zip(found, cycle(NAMES), strict=False))
    text = re.sub(r"\b[A-Z][a-z]+\b", lambda match: names.get(match[0], match[0]), text)
    return re.sub(r"\b(?:he|she|his|her|him)\b", lambda match: SWAPPED[match[0]], text)


def both(text: str) -> str:
    return other_names(other_numbers(text))


def comparable(text: str) -> bool:
    return len(set(ngrams(abstract(text), 5))) >= LEAST_TEMPLATE


@pytest.fixture(scope="module")
def rows() -> dict[str, list[tuple[int, list[str]]]]:
    return {name: list(iter_questions(path)) for name, path in FILES.items()}


@pytest.fixture(scope="module")
def index(rows: dict[str, list[tuple[int, list[str]]]]) -> LeakageIndex:
    return LeakageIndex(
        EvaluationItem(name, line, tuple(texts)) for name, items in rows.items() for line, texts in items
    )


@pytest.mark.parametrize("change", [other_numbers, other_names, both])
@pytest.mark.parametrize("name", FILES)
def test_every_reworded_row_is_caught(rows: dict, index: LeakageIndex, name: str, change: object) -> None:
    changed = short = 0
    missed = []
    for line, texts in rows[name]:
        for text in texts:
            reworded = change(text)
            if normalize(reworded) == normalize(text):
                continue
            if not comparable(text):
                short += 1
                continue
            changed += 1
            reasons = {leak.reason for leak in index.find([reworded]) if (leak.file, leak.line) == (name, line)}
            if LeakReason.TEMPLATE not in reasons:
                missed.append((line, reworded))
    print(f"{name} {change.__name__}: {changed - len(missed)} of {changed} caught, {short} too short")
    assert missed == []
    if name == "gsm8k":
        assert short == 0
        assert changed > 150


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_caught_word_for_word(rows: dict, index: LeakageIndex, name: str) -> None:
    for line, texts in rows[name]:
        found = {leak.reason for leak in index.find(texts) if (leak.file, leak.line) == (name, line)}
        assert LeakReason.EXACT in found


def benchmark(name: str) -> str:
    # The three parts of LogicBench tell the same contexts.
    return name.partition("_")[0] if name.startswith("logicbench") else name


@pytest.mark.parametrize("name", FILES)
def test_no_row_leaks_another_benchmark(rows: dict, index: LeakageIndex, name: str) -> None:
    found = [
        (line, leak)
        for line, texts in rows[name]
        for leak in index.find(texts)
        if benchmark(leak.file) != benchmark(name)
    ]
    assert found == []


# Rows of a file that are found in another of its rows. Those above none: CLUTRR and LegalBench fill templates or judge
# one clause in several tasks, FOLIO and ProofWriter ask several questions on one story, LogicBench(Aug) is generated,
# ProntoQA draws from few sentences, and a few exam questions are near copies.
ALIKE = {"gsm8k": 0, "arc_challenge": 0, "logiqa2": 0, "mmlu": 0, "prontoqa": 2, "math500": 2, "medqa": 14}


@pytest.mark.parametrize("name", ALIKE)
def test_distinct_rows_are_told_apart(rows: dict, index: LeakageIndex, name: str) -> None:
    if name not in rows:
        pytest.skip(f"no benchmark sample of {name} in {DATA}")
    alike = Counter(
        leak.reason.value
        for line, texts in rows[name]
        for leak in index.find(texts)
        if leak.file == name and leak.line != line
    )
    assert sum(alike.values()) <= ALIKE[name], alike


@pytest.mark.parametrize("family", ["arithmetic", "deduction", "ordering", "eligibility"])
def test_generated_sets_leak_no_benchmark(index: LeakageIndex, family: str) -> None:
    for one in create_isomers(family, seed=5, size=100):
        assert index.find([member.problem for member in one.members], graph_key(one.graph)) == []
