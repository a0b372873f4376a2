"""Rewards that compare texts: exact answers, choice letters, answers of isomer sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isograd.isomers.answers import extract_answer, letter_at, read_letter
from isograd.reinforce.rewards_base import Batch, Reward, Verdict

__all__ = ["ChoiceLetter", "ExactAnswer", "IsomerAnswer"]


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
        wanted = [letter_at(gold, 0) or gold for gold in batch.golds]
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
