"""One isomer set from its JSON, and what is said of one that is none: place, reason and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from isograd.isomers.graph import problems
from isograd.isomers.schema import ANSWER_PREFIX, Isomer, IsomerSet, ReasoningGraph, Span

__all__ = ["Fault", "FaultError", "check", "parse", "recode"]

_LONGEST_TEXT: Final = 300


@dataclass(frozen=True)
class Fault:
    """Why a line (or a row) is not an isomer set. All texts are one printable line.

    Attributes:
        line: number of the line or row, from 1.
        field: dotted path of the field at fault, ``members.0.spans.2``; ``line`` or ``row`` for the whole of it,
            ``file`` where the fault is the file's.
        reason: what is wrong.
        mend: what to do about it.
    """

    line: int
    field: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.line}: {self.field}: {self.reason}; {self.mend}"


class FaultError(ValueError):
    """What a fault is before its line is known."""

    def __init__(self, field: str, reason: str, mend: str) -> None:
        self.field, self.reason, self.mend = (_one_line(text) for text in (field, reason, mend))
        super().__init__(f"{self.field}: {self.reason}; {self.mend}")

    def at(self, line: int) -> Fault:
        """The fault on a line."""
        return Fault(line, self.field, self.reason, self.mend)


def _one_line(text: str) -> str:
    """Printable characters alone: files come from anywhere, and messages go to terminals."""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def recode(field: str, reason: str, encoding: str) -> FaultError:
    """A fault of files in another encoding."""
    return FaultError(field, reason, f"save it as UTF-8: iconv -f {encoding} -t UTF-8 OLD > NEW")


def parse(data: bytes) -> IsomerSet:
    """One set from its JSON. Types must be right as they stand: no text is taken for a number.

    Raises:
        FaultError: the JSON is broken, or not that of an isomer set.
    """
    try:
        return IsomerSet.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise _diagnosis(data, error) from None


_MENDS: Final = {
    "missing": "add it",
    "extra_forbidden": "remove it, or correct its name",
    "finite_number": "JSON has no NaN and no infinity; write a number or null",
    "isomers": "correct it",
}


def _diagnosis(data: bytes, error: ValidationError) -> FaultError:
    """The first fault of a line that is no isomer set, in words."""
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        reason = f"not UTF-8: byte 0x{data[wrong.start]:02x} at byte {wrong.start + 1} of the line"
        return recode("line", reason, "WINDOWS-1252")
    first: Any = error.errors(include_url=False, include_input=False)[0]
    place, kind, context = list(first["loc"]), first["type"], first.get("ctx", {})
    if kind == "json_invalid":
        found = re.fullmatch(r"(.*) at line \d+ column (\d+)", context["error"])
        reason, column = found.groups() if found else (context["error"], "1")
        # Counted in bytes there, in characters by an editor.
        characters = len(data[: int(column)].decode(errors="ignore"))
        return FaultError("line", f"not valid JSON at column {characters}: {reason}", "write one JSON object a line")
    reason = first["msg"].removeprefix("Value error, ")
    if kind == "isomers":
        place += context["place"]
    if place[:2] == ["graph", "nodes"] and place[3:4] == ["value"] and len(place) > 4:
        # One message for each type that a value may have; none of them is the whole truth.
        place = place[:4]
        reason = "Input should be a finite number, a text, true, false or null"
    return FaultError(".".join(map(str, place)) or "line", reason, _MENDS.get(kind, "correct the value"))


def check(isomer_set: IsomerSet) -> None:
    """What the schema cannot say.

    Raises:
        FaultError: a graph is no reasoning graph, or a span does not cover what its node states.
    """
    _check_graph(isomer_set.graph, "graph")
    for index, member in enumerate(isomer_set.members):
        goals = {isomer_set.graph.goal.id}
        if member.graph is not None:
            _check_graph(member.graph, f"members.{index}.graph")
            goals.add(member.graph.goal.id)
        _check_spans(member, goals, f"members.{index}.spans")


def _check_graph(graph: ReasoningGraph, place: str) -> None:
    faults = problems(graph)
    if faults:
        raise FaultError(place, faults[0], "correct the graph")


def _check_spans(member: Isomer, goals: set[str], place: str) -> None:
    text, start = member.completion, 0
    # Where each node's value may stand: (start, end) of a step's line and the value; for the goal, the answer itself.
    stated: dict[str, list[tuple[int, int, str]]] = {}
    for step in member.steps:
        end = start + len(step.text)
        stated.setdefault(step.node, []).append((start, end, step.value))
        start = end + 1
    for goal in goals:
        stated.setdefault(goal, []).append((start + len(ANSWER_PREFIX), len(text), member.answer))
    for index, span in enumerate(member.spans):
        if span.node not in stated:
            reason = f"names node {span.node!r}, which is neither a step's nor the goal"
            raise FaultError(f"{place}.{index}.node", reason, "name the node whose value the span covers")
        if not any(
            first <= span.start and span.end <= last and text[span.start : span.end] == value
            for first, last, value in stated[span.node]
        ):
            raise _wrong_span(text, span, stated[span.node], f"{place}.{index}")


def _wrong_span(text: str, span: Span, stated: list[tuple[int, int, str]], place: str) -> FaultError:
    value = stated[0][2]
    reason = f"[{span.start}, {span.end}) covers {text[span.start : span.end]!r}, node {span.node!r} states {value!r}"
    # A step says its value last.
    start = max((text.rfind(value, first, last) for first, last, value in stated if value), default=-1)
    if start < 0:
        return FaultError(place, reason, "the step's text does not hold its value; correct one of them")
    return FaultError(place, reason, f"set it to [{start}, {start + len(value)})")
