"""Scoring a student on benchmark rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from isograd.common.errors import UserError
from isograd.evaluate.answers import extract_answer, extract_number, same_number
from isograd.evaluate.generate import generate_greedy
from isograd.evaluate.statistics import wilson_interval
from isograd.isomers.benchmarks import BenchmarkRow

__all__ = ["right_answer", "score_benchmark"]


def right_answer(completion: str, row: BenchmarkRow, form: str) -> bool:
    """Whether a completion answers the row: the same number in GSM8K, else the same text after ``Answer:``."""
    if form == "gsm8k":
        return same_number(extract_number(completion), row.answer)
    return extract_answer(completion) == row.answer


def score_benchmark(
    model: Any,
    tokenizer: Any,
    rows: Sequence[BenchmarkRow],
    form: str,
    *,
    max_new_tokens: int = 256,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Complete each row greedily and judge the answer.

    Returns:
        ``n``, ``accuracy`` (a fraction) and its 95% Wilson interval ``accuracy_ci``.

    Raises:
        UserError: no rows, or a row without a gold answer.
    """
    if not rows or not all(row.answer for row in rows):
        raise UserError(f"{form}: no rows, or rows without a gold answer, cannot be scored")
    prompts = [row.prompt for row in rows]
    completions = generate_greedy(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, progress=progress
    )
    right = sum(right_answer(text, row, form) for text, row in zip(completions, rows, strict=True))
    return {"n": len(rows), "accuracy": right / len(rows), "accuracy_ci": list(wilson_interval(right, len(rows)))}
