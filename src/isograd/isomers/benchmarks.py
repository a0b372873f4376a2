"""Rows of public benchmarks in their native formats, as prompt, completion and gold answer."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from isograd.common.errors import UserError

__all__ = ["FORMATS", "BenchmarkRow", "iter_json_lines", "read_benchmark"]


@dataclass(frozen=True)
class BenchmarkRow:
    """One supervised row.

    Attributes:
        prompt: what the student is given, ending in a line end.
        completion: what it is to write, ending in ``Answer: <answer>`` or, for GSM8K, in ``#### <number>``.
        answer: the gold answer.
    """

    prompt: str
    completion: str
    answer: str


def _choices(question: str, options: Mapping[str, str], gold: str) -> BenchmarkRow:
    if gold not in options:
        raise ValueError(f"the answer {gold!r} is none of the options")
    listed = "\n".join(f"{letter}) {text}" for letter, text in options.items())
    return BenchmarkRow(f"{question}\n{listed}\n", f"Answer: {gold}", gold)


def _gsm8k(row: Mapping[str, Any]) -> BenchmarkRow:
    gold = row["answer"].rsplit("####", 1)[1].strip().replace(",", "")
    return BenchmarkRow(f"{row['question']}\n", row["answer"], gold)


def _logiqa2(row: Mapping[str, Any]) -> BenchmarkRow:
    options = dict(zip(string.ascii_uppercase, row["options"], strict=False))
    gold = dict(enumerate(options)).get(row["answer"], "")
    return _choices(f"{row['text']}\n{row['question']}", options, gold)


def _medqa(row: Mapping[str, Any]) -> BenchmarkRow:
    return _choices(row["question"], row["options"], row["answer_idx"])


def _legalbench(row: Mapping[str, Any]) -> BenchmarkRow:
    # Every task has columns of its own; what is neither bookkeeping nor the answer is the case to judge.
    case = [f"{key}: {value}" for key, value in row.items() if key not in ("task", "index", "answer") and value]
    return BenchmarkRow(
        "\n".join([row["task"].replace("_", " "), *case]) + "\n", f"Answer: {row['answer']}", row["answer"]
    )


def _rows(row: Mapping[str, Any]) -> BenchmarkRow:
    return BenchmarkRow(row["prompt"], row["completion"], row.get("answer", ""))


FORMATS: Final[Mapping[str, Callable[[Mapping[str, Any]], BenchmarkRow]]] = {
    "gsm8k": _gsm8k,
    "logiqa2": _logiqa2,
    "medqa": _medqa,
    "legalbench": _legalbench,
    "rows": _rows,
}
"""Readers by format name; ``rows`` is plain JSON lines with ``prompt`` and ``completion``."""


def iter_json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """Line numbers and values of a JSON-lines file; blank lines are passed over.

    Raises:
        UserError: no such file, not UTF-8, or a line that is not JSON; the message names file, line and column.
    """
    source = Path(path)
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    with source.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except UnicodeDecodeError:
                raise UserError(f"{source}:{number}: not UTF-8 text; save the file as UTF-8") from None
            except json.JSONDecodeError as error:
                raise UserError(f"{source}:{number}:{error.colno}: not valid JSON: {error.msg}") from None


def read_benchmark(path: str | os.PathLike[str], form: str) -> list[BenchmarkRow]:
    """Read a benchmark file in its native format.

    Args:
        path: JSON lines.
        form: one of :data:`FORMATS`.

    Raises:
        UserError: an unknown format, an unreadable file, or a row that lacks a field; the message names the line.
    """
    if form not in FORMATS:
        raise UserError(f"unknown data format {form!r}; there are: {', '.join(FORMATS)}")
    rows = []
    for number, value in iter_json_lines(path):
        try:
            row = FORMATS[form](value)
            if not all(isinstance(text, str) for text in (row.prompt, row.completion, row.answer)):
                raise TypeError("prompt, completion and answer are texts")
            rows.append(row)
        except KeyError as error:
            raise UserError(f"{path}:{number}: a {form} row needs the field {error.args[0]!r}") from None
        except (TypeError, AttributeError, IndexError, ValueError):
            raise UserError(f"{path}:{number}: not a {form} row: {json.dumps(value)[:80]}") from None
    return rows
