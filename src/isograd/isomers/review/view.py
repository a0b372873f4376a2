"""What the page shows of a set: its texts cut into pieces, its steps aligned, its overlap, its origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from isograd.isomers.review.ledger import taken_back
from isograd.isomers.review.pieces import Piece, clean, pieces, shorten
from isograd.isomers.schema import Isomer, IsomerSet
from isograd.isomers.teacher.journal import Decision
from isograd.isomers.verify import Finding, Verdict
from isograd.isomers.verify.checks import overlaps

__all__ = ["Cell", "Past", "Row", "findings_of", "overlap_table", "past", "provenance_rows", "rows_of", "when"]

LONG = 2000
"""Characters from which on a text scrolls in a box of its own."""


@dataclass(frozen=True)
class Cell:
    """A member's text in a row; ``node`` where it derives another node than the row."""

    domain: str
    pieces: tuple[Piece, ...]
    long: bool = False
    changed: bool = False
    node: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the table: ``kind`` is ``problem``, ``step`` or ``answer``; steps name what they derive."""

    kind: str
    label: str
    cells: tuple[Cell, ...]
    node: str = ""
    type: str = ""
    op: str = ""


@dataclass(frozen=True)
class Past:
    """A row of a set's history."""

    at: str
    verdict: str
    reviewer: str
    reason: str
    fits: bool


def rows_of(isomer_set: IsomerSet, original: IsomerSet) -> list[Row]:
    """Problem, steps and answer, one row each, of all members side by side.

    Args:
        isomer_set: what is shown.
        original: the set as it stands in the file; what differs from it is marked.
    """
    members = isomer_set.members
    before = {member.domain: member for member in original.members}
    goal = isomer_set.graph.goal
    steps = [node for node in isomer_set.graph.steps if node.id != goal.id]
    rows = [Row("problem", "Problem", tuple(_problem(member, before.get(member.domain)) for member in members))]
    for index in range(max(len(member.steps) for member in members)):
        node = steps[index] if index < len(steps) else None
        name = node.id if node else ""
        cells = tuple(_step(member, before.get(member.domain), index, name) for member in members)
        kind, op = (node.type.value, node.op or "") if node else ("", "")
        rows.append(Row("step", f"Step {index + 1}", cells, clean(name), kind, clean(op)))
    answers = tuple(_answer(member, before.get(member.domain)) for member in members)
    rows.append(Row("answer", "Answer", answers, clean(goal.id), goal.type.value, clean(goal.op or "")))
    return rows


def _problem(member: Isomer, before: Isomer | None) -> Cell:
    changed = before is not None and before.problem != member.problem
    parts = tuple(pieces(member.problem, cue=member.cue))
    return Cell(member.domain, parts, len(member.problem) > LONG, changed)


def _step(member: Isomer, before: Isomer | None, index: int, node: str) -> Cell:
    if index >= len(member.steps):
        return Cell(member.domain, ())
    step = member.steps[index]
    changed = before is not None and (index >= len(before.steps) or before.steps[index] != step)
    parts = tuple(pieces(step.text, value=_value_place(member, index), cue=member.cue))
    other = "" if step.node == node else clean(step.node)
    return Cell(member.domain, parts, len(step.text) > LONG, changed, other)


def _value_place(member: Isomer, index: int) -> tuple[int, int] | None:
    """Where the span of a step lies in its line."""
    if index >= len(member.spans):
        return None
    start = sum(len(step.text) + 1 for step in member.steps[:index])
    first, last = member.spans[index].start - start, member.spans[index].end - start
    return (first, last) if first >= 0 and last <= len(member.steps[index].text) else None


def _answer(member: Isomer, before: Isomer | None) -> Cell:
    changed = before is not None and before.answer != member.answer
    parts = tuple(pieces(member.answer, value=(0, len(member.answer))))
    return Cell(member.domain, parts, len(member.answer) > LONG, changed)


def findings_of(verdict: Verdict) -> list[dict[str, str | bool]]:
    """Reason, place and detail of each finding, and whether it rejects."""
    rejections = verdict.rejections
    found: list[dict[str, str | bool]] = []
    for finding in verdict.findings:
        if isinstance(finding, Finding):
            reason, where, detail = str(finding.reason), finding.where, finding.detail
        else:
            reason, where, detail = "unreadable", finding.field, f"{finding.reason}; {finding.mend}"
        texts = {"reason": reason.replace("_", " "), "where": shorten(where, 120), "detail": shorten(detail, 400)}
        found.append({**texts, "rejects": finding in rejections})
    return found


def overlap_table(isomer_set: IsomerSet) -> Mapping[tuple[str, str], tuple[str, int]]:
    """The overlap of each pair of domains, as text, and as a shade from 0 to 5."""
    return {pair: (f"{share:.2f}", min(5, int(share * 10))) for pair, share in overlaps(isomer_set).items()}


def provenance_rows(isomer_set: IsomerSet) -> list[tuple[str, str]]:
    """Where the set comes from, as names and texts."""
    source = isomer_set.provenance
    rows = [
        ("family", isomer_set.family),
        ("generator", f"{source.generator} {source.version}"),
        ("split", source.split),
        ("seed, index", f"{source.seed}, {source.index}"),
        ("structure", isomer_set.structure),
    ]
    for name, value in source.options.items():
        rows.append((name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return [(shorten(name, 40), shorten(text, 400)) for name, text in rows]


def past(history: list[Decision], current: str) -> list[Past]:
    """The history of a set, newest first.

    Args:
        history: as the ledger has it.
        current: hash of the set as it stands in the file.
    """
    names = {decision.at: decision.verdict for decision in history if decision.set_hash}
    words = {"accept": "accepted", "reject": "rejected", "edit": "accepted with edits"}
    told = []
    for decision in reversed(history):
        reason = decision.content.get("reason", "") if isinstance(decision.content, dict) else ""
        back = taken_back(decision)
        verdict = words[decision.verdict] if back is None else f"{words.get(names.get(back, ''), 'decision')}: undone"
        fits = not decision.set_hash or decision.set_hash == current
        shown = shorten(reason, 500) if isinstance(reason, str) and decision.verdict == "reject" else ""
        told.append(Past(when(decision.at), verdict, shorten(decision.reviewer, 60), shown, fits))
    return told


def when(at: float) -> str:
    """A time of the journal's in words, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
