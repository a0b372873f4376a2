"""Readers of public benchmarks: real files where they lie beside the repository, handwritten rows everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from isograd.common.errors import UserError
from isograd.isomers.benchmarks import FORMATS, BenchmarkRow, iter_json_lines, read_benchmark

DATA = Path(__file__).parents[3] / "shared" / "data"


def real_file(name: str) -> Path:
    path = DATA / name / "sample.jsonl"
    if not path.is_file():
        pytest.skip(f"no benchmark sample at {path}")
    return path


def real_rows(name: str) -> list[tuple[dict[str, Any], BenchmarkRow]]:
    path = real_file(name)
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    rows = read_benchmark(path, name)
    assert len(rows) == len(raw) > 100
    for row in rows:
        assert row.prompt.endswith("\n")
        assert row.prompt.strip()
        assert row.answer
    return list(zip(raw, rows, strict=True))


def test_real_gsm8k() -> None:
    for raw, row in real_rows("gsm8k"):
        assert row.prompt == raw["question"] + "\n"
        assert row.completion == raw["answer"]
        assert float(row.answer) == float(re.search(r"#### ([-\d,.]+)$", raw["answer"])[1].replace(",", ""))


def test_real_logiqa2() -> None:
    for raw, row in real_rows("logiqa2"):
        gold = raw["options"][raw["answer"]]
        assert f"\n{row.answer}) {gold}\n" in row.prompt
        assert row.completion == f"Answer: {row.answer}"
        assert raw["text"] in row.prompt
        assert raw["question"] in row.prompt


def test_real_medqa() -> None:
    for raw, row in real_rows("medqa"):
        assert f"\n{row.answer}) {raw['answer']}\n" in row.prompt
        assert row.completion == f"Answer: {row.answer}"


def test_real_legalbench() -> None:
    for raw, row in real_rows("legalbench"):
        assert row.completion == f"Answer: {raw['answer']}"
        assert row.answer == raw["answer"]
        assert row.prompt.startswith(raw["task"].replace("_", " ") + "\n")
        case = {key: text for key, text in raw.items() if key not in ("task", "index", "answer") and text}
        assert case
        for key, text in case.items():
            assert f"\n{key}: {text}\n" in row.prompt


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


SMALL: dict[str, tuple[dict[str, Any], BenchmarkRow]] = {
    "gsm8k": (
        {"question": "How many?", "answer": "600 + 634 = <<600+634=1234>>1234\n#### 1,234"},
        BenchmarkRow("How many?\n", "600 + 634 = <<600+634=1234>>1234\n#### 1,234", "1234"),
    ),
    "logiqa2": (
        {"id": 1, "text": "All A are B.", "question": "What follows?", "options": ["x", "y", "z"], "answer": 2},
        BenchmarkRow("All A are B.\nWhat follows?\nA) x\nB) y\nC) z\n", "Answer: C", "C"),
    ),
    "medqa": (
        {"question": "Which drug?", "options": {"A": "this", "B": "that"}, "answer_idx": "B", "answer": "that"},
        BenchmarkRow("Which drug?\nA) this\nB) that\n", "Answer: B", "B"),
    ),
    "legalbench": (
        {"task": "hear_say", "index": "3", "text": "He said.", "note": "", "answer": "Yes"},
        BenchmarkRow("hear say\ntext: He said.\n", "Answer: Yes", "Yes"),
    ),
    "rows": (
        {"prompt": "p\n", "completion": "c", "answer": "a", "extra": 1},
        BenchmarkRow("p\n", "c", "a"),
    ),
}


@pytest.mark.parametrize("form", FORMATS)
def test_small_rows(tmp_path: Path, form: str) -> None:
    raw, row = SMALL[form]
    assert read_benchmark(write(tmp_path / "rows.jsonl", raw, raw), form) == [row, row]


def test_plain_rows_need_no_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "p", "completion": "c"})
    assert read_benchmark(path, "rows") == [BenchmarkRow("p", "c", "")]


NEEDED = {
    "gsm8k": ("question", "answer"),
    "logiqa2": ("text", "question", "options", "answer"),
    "medqa": ("question", "options", "answer_idx"),
    "legalbench": ("task", "answer"),
    "rows": ("prompt", "completion"),
}


@pytest.mark.parametrize(("form", "field"), [(form, field) for form, fields in NEEDED.items() for field in fields])
def test_a_missing_field_is_named(tmp_path: Path, form: str, field: str) -> None:
    good, _ = SMALL[form]
    bad = {key: value for key, value in good.items() if key != field}
    path = write(tmp_path / "rows.jsonl", good, bad)
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}:2: a {form} row needs the field {field!r}')}$"):
        read_benchmark(path, form)


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ("gsm8k", {"answer": "no final mark"}),
        ("gsm8k", {"answer": 12}),
        ("logiqa2", {"answer": 3}),
        ("logiqa2", {"answer": -1}),
        ("logiqa2", {"answer": "C"}),
        ("logiqa2", {"options": 7}),
        ("medqa", {"options": ["this", "that"]}),
        ("medqa", {"answer_idx": "E"}),
        ("legalbench", {"task": 5}),
        ("legalbench", {"answer": 1}),
        ("rows", {"prompt": None}),
        ("rows", {"completion": ["c"]}),
        ("rows", {"answer": 4}),
    ],
)
def test_a_wrong_field_is_refused_with_its_line(tmp_path: Path, form: str, change: dict[str, Any]) -> None:
    good, _ = SMALL[form]
    path = write(tmp_path / "rows.jsonl", good, good, {**good, **change})
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}:3: not a {form} row: ')}"):
        read_benchmark(path, form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("value", [None, 3, "text", ["a"], True])
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, form: str, value: object) -> None:
    path = write(tmp_path / "rows.jsonl", value)
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}:1: not a {form} row: {json.dumps(value)}')}$"):
        read_benchmark(path, form)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="unknown data format 'mmlu'; there are: gsm8k, logiqa2, medqa, legalbench, rows"
    ):
        read_benchmark(tmp_path / "rows.jsonl", "mmlu")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": }\n', ":2:7: not valid JSON: Expecting value"),
        (b'{"a": 1}\n\n{"a": "\xff"}\n', ":3: not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    lines = iter_json_lines(path)
    assert next(lines) == (1, {"a": 1})
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}{message}')}$"):
        list(lines)


def test_lines_are_numbered_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"a": "\u2028"}\n  \n[1]', encoding="utf-8")
    assert list(iter_json_lines(path)) == [(2, {"a": "\u2028"}), (4, [1])]
    with pytest.raises(UserError, match="no such file"):
        list(iter_json_lines(tmp_path / "none.jsonl"))
