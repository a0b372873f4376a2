"""Question texts of benchmark rows: handwritten rows of every format, real files where they lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isograd.common.errors import UserError
from isograd.isomers.questions import QUESTIONS, detect_format, iter_questions

DATA = Path(__file__).parents[3] / "shared" / "data"
LONG = "word " * 19 + "end?"

SMALL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "gsm8k": ({"question": "How many?", "answer": "2 #### 2"}, ["How many?"]),
    "math500": ({"problem": "Find $x$.", "solution": "1", "unique_id": "a"}, ["Find $x$."]),
    "math": ({"problem": "Find $x$.", "level": "Level ?", "solution": "1"}, ["Find $x$."]),
    "logiqa2": (
        {"id": 1, "text": "All A are B.", "question": "What follows?", "options": ["x", "y"], "answer": 0},
        ["All A are B.\nWhat follows?\nx\ny"],
    ),
    "reclor": (
        {"context": "C.", "question": "Which?", "answers": ["x", "y"], "label": 0, "id_string": "a"},
        ["C.\nWhich?\nx\ny"],
    ),
    "ar_lsat": (
        {"id": 1, "passage": "P.", "questions": [{"question": "Who?"}, {"question": "When?"}]},
        ["P.\nWho?", "P.\nWhen?"],
    ),
    "folio": ({"premises": ["A.", "B."], "conclusion": "C.", "label": "True"}, ["A.\nB.\nC."]),
    "prontoqa": (
        {
            "context": "Sam is a cat.",
            "question": "Is the following statement true or false? Sam is blue.",
            "options": ["A) True", "B) False"],
            "explanation": [],
        },
        ["Sam is a cat.\nSam is blue."],
    ),
    "proofwriter": (
        {"context": "A dog is red.", "question": "Is it true? A dog is not red.", "options": ["A) True"]},
        ["A dog is red.\nA dog is not red."],
    ),
    "logicbench_bqa": (
        {"id": 1, "context": "C.", "qa_pairs": [{"question": "So?", "answer": "no"}, {"question": "Or?"}]},
        ["C.\nSo?", "C.\nOr?"],
    ),
    "logicbench_aug": ({"context": "C.", "qa_pairs": [{"question": "So?", "answer": "no"}]}, ["C.\nSo?"]),
    "logicbench_mcqa": (
        {"context": "C.", "question": "Which is best?", "choices": {"choice_1": "x", "choice_2": "y"}},
        ["C.\nx\ny"],
    ),
    "clutrr": ({"story": "[Ann] has a son.", "query": "('Ann', 'Bo')"}, ["[Ann] has a son."]),
    "medqa": ({"question": "Drug?", "options": {"A": "x", "B": "y"}, "answer": "x"}, ["Drug?\nx\ny"]),
    "mmlu": ({"question": LONG, "subject": "s", "choices": ["x", "y"], "answer": 1}, [LONG]),
    "arc_challenge": (
        {"question": "Why?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "A"},
        ["Why?\nx\ny"],
    ),
    "legalbench": (
        {"task": "t", "index": "1", "answer": "No", "text": "T.", "question": "Q?", "slice": "s", "note": ""},
        ["T.\nQ?"],
    ),
    "rows": ({"prompt": "P", "completion": "c"}, ["P"]),
    "question": ({"question": "Q?"}, ["Q?"]),
    "problem": ({"problem": "P", "answer": 3}, ["P"]),
    "text": ({"text": "T"}, ["T"]),
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", QUESTIONS)
def test_every_format_is_detected_and_read(tmp_path: Path, form: str) -> None:
    row, texts = SMALL[form]
    assert detect_format(row) == form
    path = write(tmp_path / "rows.jsonl", row, row)
    assert list(iter_questions(path)) == list(iter_questions(path, form)) == [(1, texts), (2, texts)]


@pytest.mark.parametrize("row", [{"id": 1}, {}, ["question"], "question", None])
def test_what_is_no_format_is_said_with_a_way_out(tmp_path: Path, row: object) -> None:
    assert detect_format(row) is None
    path = write(tmp_path / "rows.jsonl", row)
    with pytest.raises(UserError, match=r"rows.jsonl:1: no known benchmark format; name it \(gsm8k, .*'question'"):
        list(iter_questions(path))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"question": "Q"}, {"problem": "P"}, "rows.jsonl:2: a question row needs the field 'question'"),
        ({"question": "Q"}, {"question": 3}, "rows.jsonl:2: not a question row"),
        ({"question": "Q"}, ["Q"], "rows.jsonl:2: not a question row"),
        (SMALL["logicbench_aug"][0], {"context": "C", "qa_pairs": []}, "rows.jsonl:2: not a logicbench_aug row"),
        (SMALL["medqa"][0], {"question": "Q", "options": ["x"]}, "rows.jsonl:2: not a medqa row"),
        (SMALL["folio"][0], {"premises": None, "conclusion": "C"}, "rows.jsonl:2: not a folio row"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, first: object, second: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(iter_questions(write(tmp_path / "rows.jsonl", first, second)))


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown question format 'arb'; there are: gsm8k, "):
        list(iter_questions(tmp_path / "rows.jsonl", "arb"))


@pytest.mark.parametrize(
    "name", sorted(set(QUESTIONS) - {"math", "reclor", "ar_lsat", "rows", "question", "problem", "text"})
)
def test_real_files(name: str) -> None:
    path = DATA / name / "sample.jsonl"
    if not path.is_file():
        pytest.skip(f"no benchmark sample at {path}")
    rows = list(iter_questions(path))
    first = json.loads(path.read_text(encoding="utf-8").split("\n", 1)[0])
    assert detect_format(first) == name
    assert len(rows) >= 100
    assert all(text.strip() for _, texts in rows for text in texts)
