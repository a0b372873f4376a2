"""A set with other texts: what a reviewer may change, and where the values then stand.

The graph, the labels and the number of steps stay. A member whose problem was changed loses its own graph, which a
reader abstracted from the old words and says nothing of the new ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isograd.isomers.parsing import FaultError
from isograd.isomers.review.content import from_plain
from isograd.isomers.schema import ANSWER_PREFIX, Isomer, IsomerSet, completion_text

__all__ = ["EditError", "Texts", "as_sent", "edited", "texts_of"]


class EditError(ValueError):
    """An edit that would make the set no set; ``problems`` says why, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@dataclass(frozen=True)
class Texts:
    """What may be changed in a member.

    Attributes:
        problem: the question.
        steps: text and stated value of each step.
        answer: the stated answer.
    """

    problem: str
    steps: tuple[tuple[str, str], ...]
    answer: str


def texts_of(member: Isomer) -> Texts:
    """The texts of a member as they are."""
    return Texts(member.problem, tuple((step.text, step.value) for step in member.steps), member.answer)


def as_sent(text: str) -> str:
    """What a browser sends back of a text that it was given in a form: line ends are one kind, and NUL is lost."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def edited(isomer_set: IsomerSet, texts: Sequence[Texts]) -> IsomerSet:
    """The set with other texts; whatever was sent back as it was given stays exactly as it is.

    Args:
        isomer_set: the set as it was shown.
        texts: of each member, in order.

    Raises:
        EditError: they make no set.
    """
    if [len(text.steps) for text in texts] != [len(member.steps) for member in isomer_set.members]:
        raise EditError(["the members or steps sent are not those of the set; load the page again"])
    kept = [_unchanged(member, sent) for member, sent in zip(isomer_set.members, texts, strict=True)]
    problems = [
        problem
        for member, text in zip(isomer_set.members, kept, strict=True)
        if text != texts_of(member)
        for problem in _problems(member, text)
    ]
    if problems:
        raise EditError(problems)
    goal = isomer_set.graph.goal.id
    members = [
        member if text == texts_of(member) else _told(member, text, goal)
        for member, text in zip(isomer_set.members, kept, strict=True)
    ]
    plain = isomer_set.model_dump(mode="json", exclude_defaults=True)
    plain["members"] = [member if isinstance(member, dict) else member.model_dump(mode="json") for member in members]
    try:
        return from_plain(plain)
    except FaultError as error:
        raise EditError([str(error)]) from None


def _unchanged(member: Isomer, sent: Texts) -> Texts:
    old = texts_of(member)

    def pick(before: str, after: str) -> str:
        return before if as_sent(before) == as_sent(after) else as_sent(after)

    steps = tuple(
        (pick(text, new_text), pick(value, new_value))
        for (text, value), (new_text, new_value) in zip(old.steps, sent.steps, strict=True)
    )
    return Texts(pick(old.problem, sent.problem), steps, pick(old.answer, sent.answer))


def _problems(member: Isomer, text: Texts) -> Iterator[str]:
    where = f"{member.domain}: "
    if not text.problem.strip():
        yield f"{where}the problem is empty"
    for number, (line, value) in enumerate(text.steps, 1):
        step = f"{where}step {number} ({member.steps[number - 1].node})"
        if not line.strip() or not value:
            yield f"{step} lacks its text or its value"
        elif len(line.splitlines()) > 1:
            yield f"{step} is more than one line"
        elif line.startswith(ANSWER_PREFIX.strip()):
            yield f"{step} begins with {ANSWER_PREFIX.strip()!r}, as the answer's line does"
        elif value not in line:
            yield f"{step} does not say its value {value!r}"
    if not text.answer.strip():
        yield f"{where}the answer is empty"
    elif len(text.answer.splitlines()) > 1:
        yield f"{where}the answer is more than one line"


def _told(member: Isomer, text: Texts, goal: str) -> dict[str, object]:
    """The member with new texts, and spans where their values now stand."""
    spans, start = [], 0
    for index, (step, (line, value)) in enumerate(zip(member.steps, text.steps, strict=True)):
        place = _old_place(member, index) if (line, value) == (step.text, step.value) else None
        if place is None:
            place = _place(line, value)
        spans.append({"node": step.node, "start": start + place, "end": start + place + len(value)})
        start += len(line) + 1
    end = len(completion_text([line for line, _ in text.steps], text.answer))
    spans.append({"node": goal, "start": end - len(text.answer), "end": end})
    told = member.model_dump(mode="json")
    told |= {"problem": text.problem, "answer": text.answer, "spans": spans}
    for step, (line, value) in zip(told["steps"], text.steps, strict=True):
        step |= {"text": line, "value": value}
    if text.problem != member.problem:
        told["graph"] = None
    return told


def _old_place(member: Isomer, index: int) -> int | None:
    """Where in its line a step's value stood, if its span said so."""
    start = sum(len(step.text) + 1 for step in member.steps[:index])
    step = member.steps[index]
    if index >= len(member.spans) or member.spans[index].node != step.node:
        return None
    span = member.spans[index]
    inside = start <= span.start and span.end <= start + len(step.text)
    said = member.completion[span.start : span.end] == step.value
    return span.start - start if inside and said else None


def _place(line: str, value: str) -> int:
    """Where a line says a value last: whole if it can be, for 6 is said neither in 16 nor in 6.5."""
    whole = [match.start() for match in re.finditer(rf"(?<!\w)(?<!\d[.,]){re.escape(value)}(?!\w)(?![.,]\d)", line)]
    return whole[-1] if whole else line.rindex(value)
