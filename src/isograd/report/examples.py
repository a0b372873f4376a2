"""Isomer sets side by side: one question told in several domains, what each student made of it and where it erred."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from isograd.report.runs import Example
from isograd.report.slips import Slip, first_slip
from isograd.report.summary import Method

__all__ = ["Answer", "Piece", "SideBySide", "mark_cue", "sets_side_by_side"]

# The splits that show most, first: here a student that reads the cue instead of the logic gives itself away.
_PREFERENCE = ("cue_reversed", "cue_random", "ood_domain", "id")
_LONGEST = 2000

# By split and name of the set, then by domain.
_Sets = dict[tuple[str, str], dict[str, Example]]


class Piece(NamedTuple):
    """A stretch of text that is, or is not, the cue word."""

    text: str
    is_cue: bool


class Answer(NamedTuple):
    """One student's answer to one member of the set; ``example`` is None where it was not asked."""

    example: Example | None
    completion: list[Piece]
    slip: Slip | None


@dataclass(frozen=True)
class SideBySide:
    """A set: its members by domain, marked up, and a row of answers (in the same order) per student."""

    set_id: str
    split: str
    members: list[Example]
    problems: list[list[Piece]]
    references: list[list[Piece]]
    students: list[tuple[Method, int, list[Answer]]]


def sets_side_by_side(methods: Sequence[Method]) -> list[SideBySide]:
    """Choose one set of each split by rule, not by result, and lay them out.

    The rule: of each split the set that most students answered; among those the first one listed. The splits whose
    set most students answered come first; among those the ones in which the cue misleads most. Of a method with several
    seeds, the lowest seed with examples speaks. No sets where no run kept examples.
    """
    answers: dict[Method, _Sets] = {}
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
    ranked = sorted(listed, key=lambda key: (-sum(key in sets for sets in answers.values()), _rank(key[0])))
    chosen: dict[str, tuple[str, str]] = {}
    for key in ranked:
        chosen.setdefault(key[0], key)
    return [_lay_out(key, answers, seeds) for key in chosen.values()]


def _lay_out(key: tuple[str, str], answers: Mapping[Method, _Sets], seeds: Mapping[Method, int]) -> SideBySide:
    members: dict[str, Example] = {}
    for sets in answers.values():
        for domain, example in sets.get(key, {}).items():
            members.setdefault(domain, example)
    return SideBySide(
        key[1],
        key[0],
        list(members.values()),
        [mark_cue(member.problem, member.cue) for member in members.values()],
        [mark_cue(member.reference, member.cue) for member in members.values()],
        [
            (method, seeds[method], [_answer(sets[key].get(domain)) for domain in members])
            for method, sets in answers.items()
            if key in sets
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
    if example is None:
        return Answer(None, [], None)
    return Answer(example, mark_cue(example.completion, example.cue), first_slip(example))


def _rank(split: str) -> int:
    return _PREFERENCE.index(split) if split in _PREFERENCE else len(_PREFERENCE)
