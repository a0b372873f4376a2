"""The question texts of public benchmarks: what must not be found again in training data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.isomers.benchmarks import iter_json_lines

__all__ = ["QUESTIONS", "detect_format", "iter_questions"]

Reader = Callable[[Mapping[str, Any]], list[str]]

SELF_CONTAINED: Final = 20
"""A question of so many words stands for itself; a shorter one is told apart by its options only."""

# Columns of LegalBench tasks that say where a row comes from or what the solution hinges on, not what is asked.
_LEGALBENCH_NOTES: Final = frozenset(
    [
        *("task", "index", "answer", "document_name", "year", "slice", "issue", "circuit", "Citation", "Docket No."),
        *("case id", "parties_are_diverse", "aic_is_met"),
    ]
)


def _field(name: str) -> Reader:
    return lambda row: [row[name]]


def _choices(question: str, options: Iterable[str]) -> list[str]:
    return [question if len(question.split()) >= SELF_CONTAINED else "\n".join([question, *options])]


def _premises(row: Mapping[str, Any]) -> list[str]:
    return ["\n".join([*row["premises"], row["conclusion"]])]


def _statement(row: Mapping[str, Any]) -> list[str]:
    # Every question opens with the same instruction: "Based on the above information, is ... unknown? Anne is kind."
    return [f"{row['context']}\n{row['question'].rpartition('? ')[2]}"]


def _pairs(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['context']}\n{pair['question']}" for pair in row["qa_pairs"]]


def _passage(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['passage']}\n{question['question']}" for question in row["questions"]]


def _legalbench(row: Mapping[str, Any]) -> list[str]:
    return ["\n".join(text for key, text in row.items() if key not in _LEGALBENCH_NOTES and text)]


QUESTIONS: Final[Mapping[str, Reader]] = {
    "gsm8k": _field("question"),
    "math500": _field("problem"),
    "math": _field("problem"),
    "logiqa2": lambda row: _choices(f"{row['text']}\n{row['question']}", row["options"]),
    "reclor": lambda row: _choices(f"{row['context']}\n{row['question']}", row["answers"]),
    "ar_lsat": _passage,
    "folio": _premises,
    "prontoqa": _statement,
    "proofwriter": _statement,
    "logicbench_bqa": _pairs,
    # All its questions ask which conclusion fits best.
    "logicbench_mcqa": lambda row: _choices(row["context"], row["choices"].values()),
    "logicbench_aug": _pairs,
    "clutrr": _field("story"),
    "medqa": lambda row: _choices(row["question"], row["options"].values()),
    "mmlu": lambda row: _choices(row["question"], row["choices"]),
    "arc_challenge": lambda row: _choices(row["question"], row["choices"]["text"]),
    "legalbench": _legalbench,
    "rows": _field("prompt"),
    "question": _field("question"),
    "problem": _field("problem"),
    "text": _field("text"),
}
"""Question texts of a row by format name: context and question, and the options where the question alone is too
short to be told from others. ``rows``, ``question``, ``problem`` and ``text`` are plain JSON lines with one text."""


# What a row of each format has; the formats with more fields of their own stand before those with fewer.
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "legalbench": frozenset({"task", "index", "answer"}),
    "logiqa2": frozenset({"text", "question", "options"}),
    "reclor": frozenset({"context", "question", "answers"}),
    "ar_lsat": frozenset({"passage", "questions"}),
    "folio": frozenset({"premises", "conclusion"}),
    "prontoqa": frozenset({"context", "question", "options", "explanation"}),
    "proofwriter": frozenset({"context", "question", "options"}),
    "logicbench_bqa": frozenset({"context", "qa_pairs", "id"}),
    "logicbench_aug": frozenset({"context", "qa_pairs"}),
    "logicbench_mcqa": frozenset({"context", "question", "choices"}),
    "clutrr": frozenset({"story", "query"}),
    "medqa": frozenset({"question", "options"}),
    "arc_challenge": frozenset({"question", "choices", "answerKey"}),
    "mmlu": frozenset({"question", "choices"}),
    "math500": frozenset({"problem", "unique_id"}),
    "math": frozenset({"problem", "solution"}),
    "gsm8k": frozenset({"question", "answer"}),
    "rows": frozenset({"prompt"}),
    "question": frozenset({"question"}),
    "problem": frozenset({"problem"}),
    "text": frozenset({"text"}),
}


def detect_format(row: object) -> str | None:
    """The name in :data:`QUESTIONS` of the format that a row has, judged by its fields; ``None`` for no known one."""
    if not isinstance(row, Mapping):
        return None
    return next((form for form, fields in _FIELDS.items() if fields <= row.keys()), None)


def iter_questions(path: str | os.PathLike[str], form: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Read the question texts of a benchmark file in its native format, one row at a time.

    Args:
        path: JSON lines.
        form: one of :data:`QUESTIONS`; by default the format of the first row.

    Yields:
        Line number, and the row's texts: several where it asks several questions.

    Raises:
        UserError: an unknown format, one that cannot be detected, an unreadable file, or a row that lacks a field;
            the message names file and line.
    """
    if form is not None and form not in QUESTIONS:
        raise UserError(f"unknown question format {form!r}; there are: {', '.join(QUESTIONS)}")
    for number, row in iter_json_lines(path):
        form = form or detect_format(row)
        if form is None:
            raise UserError(
                f"{path}:{number}: no known benchmark format; name it ({', '.join(QUESTIONS)}) "
                "or give each row its text as 'question', 'problem', 'prompt' or 'text'"
            )
        try:
            texts = QUESTIONS[form](row)
        except KeyError as error:
            raise UserError(f"{path}:{number}: a {form} row needs the field {error.args[0]!r}") from None
        except (TypeError, AttributeError, IndexError, ValueError):
            texts = []
        if not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{path}:{number}: not a {form} row: {json.dumps(row)[:80]}")
        yield number, texts
