"""Rewards that compare texts: exact answers, choice letters, answers of isomer sets."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isograd.isomers.answers import extract_answer
from isograd.reinforce.rewards_base import Batch, Reward, Verdict

__all__ = ["ChoiceLetter", "ExactAnswer", "IsomerAnswer", "read_letter"]

# Brackets and marks that writers put round a letter.
_OPEN, _CLOSE = r"[\s*_(\[{\"'`$]{0,8}", r"[\s*_)\]}\"'`$]{0,8}"
_LETTER = rf"{_OPEN}(?:\\(?:boxed|text|textbf|mathrm|mathbf)\{{{_OPEN})*(?:(?:option|choice)\s{{1,4}}{_OPEN})?"
# After the letter comes the end, or a mark that closes it: "A patient ..." names no choice, "(A) patient ..." does.
_ANSWER = re.compile(rf"{_LETTER}([a-z])(?:{_CLOSE}$|[)\]}}]|[.:]|\*\*)", re.IGNORECASE)
_SAID = re.compile(r"\banswer\b[\s*_]{0,4}(?:is\b|:)[\s*_:]{0,4}|(?=\\boxed\{)", re.IGNORECASE)


def read_letter(completion: str) -> str | None:
    """The choice that a completion names, as a capital letter, or ``None``; never raises.

    The last ``Answer:`` line counts; without one, the last ``answer is ...`` or ``\\boxed{...}``; without any, a
    completion that is nothing but a letter. Letters may stand in brackets or Markdown and be followed by the text of
    the choice (``C) it rains``, ``(C) it rains``).
    """
    answer = extract_answer(completion)
    if answer is not None:
        return _letter_at(answer, 0)
    places = [match.end() for match in _SAID.finditer(completion)]
    if places:
        end = completion.find("\n", places[-1])
        return _letter_at(completion[: end if end >= 0 else None], places[-1])
    return _letter_at(completion, 0) if len(completion) <= 32 else None


def _letter_at(text: str, place: int) -> str | None:
    found = _ANSWER.match(text, place)
    # Ignoring case, a few letters outside a-z match as well (the long s, the Kelvin sign).
    return found[1].upper() if found is not None and found[1] in string.ascii_letters else None


@dataclass(frozen=True)
class ExactAnswer(Reward):
    """Right when what stands after the last ``Answer:`` is the gold answer, to the letter.

    This is how :func:`isograd.evaluate.accuracy.grade` reads and compares answers.
    """

    def _default_name(self) -> str:
        return "exact_answer"

    def judge(self, batch: Batch) -> list[Verdict]:
        """See :meth:`Reward.judge`."""
        return [_same(extract_answer(text), gold) for text, gold in zip(batch.texts, batch.golds, strict=True)]


@dataclass(frozen=True)
class ChoiceLetter(Reward):
    """Right when the completion names the gold choice; see :func:`read_letter`. The gold answer is a letter."""

    def _default_name(self) -> str:
        return "choice_letter"

    def judge(self, batch: Batch) -> list[Verdict]:
        """See :meth:`Reward.judge`."""
        wanted = [_letter_at(gold, 0) or gold for gold in batch.golds]
        return [_same(read_letter(text), gold) for text, gold in zip(batch.texts, wanted, strict=True)]


@dataclass(frozen=True)
class IsomerAnswer(Reward):
    """Right when the answer is the set's true one; for the rows of :func:`isograd.isomers.views.to_prompts`.

    Capitals and a final period do not count, as in :func:`isograd.isomers.answers.score_answer`. Where the dataset has
    a column ``labels`` with the possible answers, an answer that is none of them is unreadable.
    """

    def _default_name(self) -> str:
        return "isomer_answer"

    def judge(self, batch: Batch) -> list[Verdict]:
        """See :meth:`Reward.judge`."""
        labels = batch.columns.get("labels")
        verdicts = []
        for text, gold, row in zip(batch.texts, batch.golds, batch.rows, strict=True):
            found = extract_answer(text)
            verdict = _same(None if found is None else _folded(found), _folded(gold))
            if verdict is Verdict.WRONG and found is not None and not _possible(found, labels, row):
                verdict = Verdict.UNREADABLE
            verdicts.append(verdict)
        return verdicts


def _same(found: str | None, gold: str) -> Verdict:
    if found is None:
        return Verdict.UNREADABLE
    return Verdict.RIGHT if found == gold else Verdict.WRONG


def _folded(text: str) -> str:
    return text.rstrip(".").casefold()


def _possible(found: str, labels: Any, row: int) -> bool:
    own = labels[row] if isinstance(labels, Sequence) and row < len(labels) else None
    if not isinstance(own, Sequence) or isinstance(own, str) or not own:
        return True
    return _folded(found) in {_folded(label) for label in own if isinstance(label, str)}
