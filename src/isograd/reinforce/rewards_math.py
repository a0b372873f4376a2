"""Answers that are mathematically equal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from isograd.common.errors import UserError
from isograd.common.mathematics import LATE, shared_worker
from isograd.isomers.answers import extract_answer
from isograd.reinforce.rewards_base import Batch, Reward, Verdict, log_metric, require_finite

__all__ = ["LONGEST", "MathEqual"]

LONGEST: Final = 4096
"""Characters of an answer that are looked at."""

_HASHES = re.compile(r"####([^\n]*)")


@dataclass(frozen=True)
class MathEqual(Reward):
    """Right when the answer is mathematically equal to the gold one, as math-verify sees it.

    The answer is what stands after the last ``Answer:``; without one, after the last ``####``; without either,
    math-verify looks in the last 4096 characters (for ``\\boxed{...}`` first, else what stands last). Words are
    compared as words. An answer longer than 4096 characters is wrong, and so is one that takes too long or too much
    memory.

    What math-verify does not do: it ignores units (5 cm is 5 m), takes 50% for 0.5 and for 50, compares decimals to six
    places, and does not know repeating decimals or other bases (these are compared as texts).

    Args:
        timeout: seconds of processor time for one answer.
        memory: bytes that the subprocess may use, on Linux.

    Raises:
        UserError: a limit that is not positive; when called, math-verify is not installed or does not load.
    """

    timeout: float = 5.0
    memory: int = 2 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self.__name__, timeout=self.timeout, memory=self.memory)
        if self.timeout <= 0 or self.memory <= 0:
            raise UserError(f"{self.__name__}: timeout={self.timeout}, memory={self.memory}; both must be positive")

    def _default_name(self) -> str:
        return "math_equal"

    def judge(self, batch: Batch) -> list[Verdict]:
        """See :meth:`Reward.judge`."""
        pairs = [(_gold(gold), *_answer(text)) for text, gold in zip(batch.texts, batch.golds, strict=True)]
        asked = [pair for pair in pairs if pair[1] and max(len(pair[0]), len(pair[1])) <= LONGEST]
        replies = dict(zip(asked, shared_worker(self.timeout, self.memory).compare(asked), strict=True))
        late = sum(replies.get(pair) == LATE for pair in pairs)
        log_metric(batch.columns, f"{self.__name__}/late", late / max(len(pairs), 1))
        return [_verdict(pair, replies.get(pair)) for pair in pairs]


def _verdict(pair: tuple[str, str, bool], reply: str | None) -> Verdict:
    if not pair[1]:
        return Verdict.UNREADABLE
    return Verdict(reply) if reply in tuple(Verdict) else Verdict.WRONG


def _gold(text: str) -> str:
    # A gold answer of GSM8K is a whole solution.
    found = _HASHES.findall(text)
    return found[-1].strip() or text if found else text


def _answer(text: str) -> tuple[str, bool]:
    stated = extract_answer(text)
    found = [stated] if stated is not None else _HASHES.findall(text)
    return (found[-1].strip(), False) if found else (text[-LONGEST:].strip(), True)
