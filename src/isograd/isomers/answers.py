"""The answer of a completion, and what it is worth."""

from __future__ import annotations

import re

from isograd.isomers.schema import ANSWER_PREFIX, IsomerSet
from isograd.isomers.views import true_answer

__all__ = ["ANSWER_LINE", "extract_answer", "score_answer"]

ANSWER_LINE = re.compile(rf"^{re.escape(ANSWER_PREFIX.strip())}(.*)$", re.MULTILINE)


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
