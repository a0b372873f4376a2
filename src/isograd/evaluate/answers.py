"""Reading answers out of completions."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from isograd.isomers import Isomer
from isograd.isomers.answers import ANSWER_LINE, extract_answer
from isograd.isomers.schema import ANSWER_PREFIX, Step

__all__ = ["chain_correct", "extract_answer", "extract_number", "same_number"]

# A hyphen right after a digit is a minus sign between two numbers or a range, not the sign of the second number.
_NUMBER = re.compile(r"(?:(?<!\d)-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def chain_correct(completion: str, member: Isomer) -> bool:
    """Whether every step's value is right: the text before the answer states the member's equations in order.

    Cue words are no part of the reasoning, so each reference step is compared up to the end of its value. Blank lines,
    and whatever follows the last answer, do not count.
    """
    answers = list(ANSWER_LINE.finditer(completion))
    before = completion[: answers[-1].start()] if answers else completion
    lines = [line for line in before.split("\n") if line.strip() and not line.startswith(ANSWER_PREFIX.strip())]
    wanted = [_up_to_value(step, member.cue) for step in member.steps]
    return len(lines) == len(wanted) and all(
        line == step or line.startswith(f"{step} ") for line, step in zip(lines, wanted, strict=True)
    )


def _up_to_value(step: Step, cue: str | None) -> str:
    # The value is the last thing a step says before its cue, which may hold the value's letters.
    # A step that does not state its value is compared whole.
    text = step.text.removesuffix(f" {cue}") if cue else step.text
    start = text.rfind(step.value)
    return text[: start + len(step.value)] if start >= 0 else step.text


def extract_number(completion: str) -> str | None:
    """GSM8K's convention: the number after the last ``####``, else the last number; ``None`` where there is none."""
    tail = completion.rsplit("####", 1)[-1] if "####" in completion else completion
    found = _NUMBER.findall(tail)
    if not found:
        return None
    return str(found[0] if "####" in completion else found[-1]).replace(",", "")


def same_number(first: str | None, second: str | None) -> bool:
    """Whether two texts are the same decimal number; never raises."""
    try:
        return first is not None and second is not None and Decimal(first) == Decimal(second)
    except InvalidOperation:
        return False
