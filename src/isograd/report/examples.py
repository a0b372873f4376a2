"""One isomer set side by side: the same question told in several domains, and what each student made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from isograd.report.runs import Example
from isograd.report.summary import Method

__all__ = ["Answer", "Piece", "SideBySide", "side_by_side"]

# The splits that show most, first: here a student that reads the cue instead of the logic gives itself away.
_PREFERENCE = ("cue_reversed", "cue_random", "ood_domain", "id")
_LONGEST = 2000


class Piece(NamedTuple):
    """A stretch of text that is, or is not, the cue word."""

    text: str
    is_cue: bool


class Answer(NamedTuple):
    """One student's answer to one member of the set; ``example`` is None where it was not asked."""

    example: Example | None
    completion: list[Piece]


@dataclass(frozen=True)
class SideBySide:
    """A set: its members by domain, marked up, and a row of answers (in the same order) per student."""

    set_id: str
    split: str
    members: list[Example]
    problems: list[list[Piece]]
    references: list[list[Piece]]
    students: list[tuple[Method, int, list[Answer]]]


def side_by_side(methods: Sequence[Method]) -> SideBySide | None:
    """Choose a set by rule, not by result, and lay it out.

    The rule: the set that most students answered; among those the split in which the cue misleads most; among
    those the first one listed. Of a method with several seeds, the lowest seed with examples speaks.

    Returns:
        None where no run kept examples.
    """
    answers: dict[Method, dict[tuple[str, str], dict[str, Example]]] = {}
    seeds: dict[Method, int] = {}
    for method in methods:
        run = next((run for run in method.scored if run.examples), None)
        if run is None:
            continue
        seeds[method] = run.seed
        sets = answers.setdefault(method, {})
        for example in run.examples:
            sets.setdefault((example.split, example.set_id), {}).setdefault(example.domain, example)
    listed = dict.fromkeys(key for sets in answers.values() for key in sets)
    if not listed:
        return None
    split, set_id = min(listed, key=lambda key: (-sum(key in sets for sets in answers.values()), _rank(key[0])))
    members: dict[str, Example] = {}
    for sets in answers.values():
        for domain, example in sets.get((split, set_id), {}).items():
            members.setdefault(domain, example)
    return SideBySide(
        set_id,
        split,
        list(members.values()),
        [mark_cue(member.problem, member.cue) for member in members.values()],
        [mark_cue(member.reference, member.cue) for member in members.values()],
        [
            (method, seeds[method], [_answer(sets[(split, set_id)].get(domain)) for domain in members])
            for method, sets in answers.items()
            if (split, set_id) in sets
        ],
    )


def mark_cue(text: str, cue: str | None) -> list[Piece]:
    """Cut text into stretches that are the cue word (whole words, any case) and stretches that are not."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more characters)"
    if not cue:
        return [Piece(text, False)]
    # Word boundaries by hand: \b fails where a cue begins or ends with punctuation.
    parts = re.split(rf"(?<!\w)({re.escape(cue)})(?!\w)", text, flags=re.IGNORECASE)
    return [Piece(part, index % 2 == 1) for index, part in enumerate(parts) if part]


def _answer(example: Example | None) -> Answer:
    return Answer(example, [] if example is None else mark_cue(example.completion, example.cue))


def _rank(split: str) -> int:
    return _PREFERENCE.index(split) if split in _PREFERENCE else len(_PREFERENCE)
