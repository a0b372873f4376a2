"""The answer of a completion, and what it is worth."""

from __future__ import annotations

import re
import string

from isograd.isomers.schema import ANSWER_PREFIX, IsomerSet
from isograd.isomers.views import true_answer

__all__ = ["ANSWER_LINE", "extract_answer", "letter_at", "read_letter", "score_answer"]

ANSWER_LINE = re.compile(rf"^{re.escape(ANSWER_PREFIX.strip())}(.*)$", re.MULTILINE)
# Brackets and marks that writers put round a letter.
_OPEN, _CLOSE = r"[\s*_(\[{\"'`$]{0,8}", r"[\s*_)\]}\"'`$]{0,8}"
_LETTER = rf"{_OPEN}(?:\\(?:boxed|text|textbf|mathrm|mathbf)\{{{_OPEN})*(?:(?:option|choice)\s{{1,4}}{_OPEN})?"
# After the letter comes the end, or a mark that closes it: "A patient ..." names no choice, "(A) patient ..." does.
_ANSWER = re.compile(rf"{_LETTER}([a-z])(?:{_CLOSE}$|[)\]}}]|[.:]|\*\*)", re.IGNORECASE)
_SAID = re.compile(r"\banswer\b[\s*_]{0,4}(?:is\b|:)[\s*_:]{0,4}|(?=\\boxed\{)", re.IGNORECASE)


def extract_answer(completion: str) -> str | None:
    """What stands after the last ``Answer:`` of a completion, or ``None`` where there is none."""
    found = ANSWER_LINE.findall(completion)
    return found[-1].strip() or None if found else None


def score_answer(completion: str, isomer_set: IsomerSet) -> float:
    """What a completion of any member is worth: 1.0 if its answer is the *true* one, else 0.0; never raises.

    The true answer is the one that the graph gives, also where label noise made the members state another. Capitals
    and a final period do not count.

    Args:
        completion: what a student wrote; its last ``Answer:`` line counts.
        isomer_set: the set whose problem it answers.
    """
    found = extract_answer(completion)
    truth = true_answer(isomer_set, isomer_set.members[0])
    return float(found is not None and found.rstrip(".").casefold() == truth.casefold())


def read_letter(completion: str) -> str | None:
    """The choice that a completion names, as a capital letter, or ``None``; never raises.

    The last ``Answer:`` line counts; without one, the last ``answer is ...`` or ``\\boxed{...}``; without any, a
    completion that is nothing but a letter. Letters may stand in brackets or Markdown and be followed by the text of
    the choice (``C) it rains``, ``(C) it rains``).
    """
    answer = extract_answer(completion)
    if answer is not None:
        return letter_at(answer, 0)
    places = [match.end() for match in _SAID.finditer(completion)]
    if places:
        end = completion.find("\n", places[-1])
        return letter_at(completion[: end if end >= 0 else None], places[-1])
    return letter_at(completion, 0) if len(completion) <= 32 else None


def letter_at(text: str, place: int) -> str | None:
    """The choice letter, as a capital, that stands at a place of a text, or ``None``."""
    found = _ANSWER.match(text, place)
    # Ignoring case, a few letters outside a-z match as well (the long s, the Kelvin sign).
    return found[1].upper() if found is not None and found[1] in string.ascii_letters else None
