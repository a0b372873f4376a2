"""What a completion is worth: 1.0 or 0.0. The tasks' YAML files name these functions in ``process_results``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from isograd.common.mathematics import shared_worker
from isograd.evaluate.answers import same_number
from isograd.evaluate.harness.reading import LONGEST, only_number, read_label, read_number, read_text
from isograd.isomers.answers import letter_at, read_letter

__all__ = ["LONGEST_WAIT", "SECONDS", "by_letter", "by_maths", "by_number", "by_words", "mathematically_equal"]

SECONDS: Final = 1.5
"""Processor time for one comparison; one that is right takes a hundredth of it."""
LONGEST_WAIT: Final = 3.5
"""Seconds by the clock for one comparison, however busy the machine."""
_MEMORY: Final = 2 << 30
_LONGEST: Final = 4096

Document = Mapping[str, Any]


def mathematically_equal(gold: str, answer: str, *, free: bool = False) -> bool:
    """Whether an answer equals the gold one, as math-verify sees it in a subprocess that is killed when it hangs.

    Args:
        gold: the right answer, LaTeX or plain.
        answer: any text; longer than 4096 characters it is wrong.
        free: whether the answer stands somewhere in a longer text.

    Raises:
        UserError: math-verify is not installed, or does not load.
    """
    if not answer or max(len(gold), len(answer)) > _LONGEST:
        return False
    return shared_worker(SECONDS, _MEMORY, LONGEST_WAIT).compare([(gold, answer, free)]) == ["right"]


def by_number(document: Document, results: Sequence[str]) -> dict[str, float]:
    """GSM8K's kind: the same number, with or without a unit, else mathematically equal (``\\sqrt{4}`` and ``2``)."""
    answer, gold = read_number(results[0]), document["gold"]
    if answer is None:
        return {"accuracy": 0.0}
    right = same_number(answer.strip(" $.*").replace(",", ""), gold)
    if not right:
        # math-verify takes many words for products of variables, and 1 1/2 for 1.
        number, wanted = only_number(answer), _fraction(gold)
        known = number is not None and wanted is not None
        right = known and number == wanted
        # A share may be meant either way.
        if not right and (not known or "%" in answer):
            right = mathematically_equal(gold, answer)
    return {"accuracy": float(right)}


def _fraction(number: str) -> Fraction | None:
    try:
        return Fraction(Decimal(number))
    except (ArithmeticError, ValueError):
        return None


def by_maths(document: Document, results: Sequence[str]) -> dict[str, float]:
    """MATH's kind: mathematically equal; without a mark, math-verify looks in the last 4096 characters."""
    answer = read_text(results[0])
    free = answer is None
    text = results[0][-_LONGEST:].strip() if answer is None else answer
    return {"accuracy": float(mathematically_equal(document["gold"], text, free=free))}


def by_letter(document: Document, results: Sequence[str]) -> dict[str, float]:
    """The letter of the right option."""
    answer = read_text(results[0])
    found = read_letter(results[0][-LONGEST:]) if answer is None else letter_at(answer, 0)
    return {"accuracy": float(found == document["gold"])}


def by_words(document: Document, results: Sequence[str]) -> dict[str, float]:
    """The right label; without labels, the same words but for capitals, outer marks and repeated spaces."""
    if document["labels"]:
        return {"accuracy": float(read_label(results[0], document["labels"]) == document["gold"])}
    answer = read_text(results[0])
    return {"accuracy": float(answer is not None and _folded(answer) == _folded(document["gold"]))}


def _folded(text: str) -> str:
    return " ".join(text.split()).strip(" .*_`'\"").casefold()
