"""Telling statements in a domain's words and reading them back: the two directions of the same templates."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from isograd.common.errors import UserError
from isograd.isomers.symbolic.domains import Domain
from isograd.isomers.symbolic.family import Cast, Family, Statement, Unreadable

__all__ = ["Grammar", "capitalized"]


def capitalized(sentence: str) -> str:
    """The sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


class Grammar:
    """A family's sentences in one domain.

    Args:
        family: the logic.
        domain: checked to be complete for the family.
    """

    def __init__(self, family: Family[Any], domain: Domain) -> None:
        self.family = family
        self.domain = domain
        self.words: Mapping[str, Sequence[str]] = {
            slot: domain.words[family.name][slot] for slot, spec in family.slots.items() if not spec.template
        }
        self._templates = {
            (slot, held_out): domain.templates(family.name, slot, held_out=held_out)
            for slot, spec in family.slots.items()
            if spec.template
            for held_out in (False, True)
        }

    def cast(self, needs: Mapping[str, int], distractors: int, rng: random.Random) -> Cast:
        """Choose different words for a telling.

        Raises:
            UserError: the domain's lists are too short for so many distractors.
        """
        chosen = {}
        for slot, count in needs.items():
            wanted = count + (distractors if slot == self.family.extra else 0)
            if wanted > len(self.words[slot]):
                raise UserError(
                    f"{self.family.name} needs {wanted} different words of the list {slot!r}, domain "
                    f"{self.domain.name!r} has {len(self.words[slot])}; lower the depth or the number of distractors"
                )
            chosen[slot] = rng.sample(self.words[slot], wanted)
        return chosen

    def say(self, statement: Statement, rng: random.Random, *, held_out: bool = False) -> str:
        """One sentence without its final period, by a template drawn from the slot's."""
        return capitalized(rng.choice(self._templates[statement.slot, held_out]).format_map(statement.fields))

    def read(self, sentence: str) -> Statement:
        """What a sentence, without cue and final period, says.

        Raises:
            Unreadable: no template of the domain makes it, or templates of different meaning do.
        """
        if sentence != capitalized(sentence):
            raise Unreadable(f"{sentence!r} begins with a small letter")
        found: list[Statement] = []
        # Where a template begins with a placeholder, the telling alone may have capitalized the first letter.
        lowered = sentence[:1].lower() + sentence[1:]
        first, blank, _ = sentence.partition(" ")
        for slot, pattern, filled in (*self._patterns.get(first + blank, ()), *self._patterns[""]):
            match = pattern.fullmatch(sentence) or (pattern.fullmatch(lowered) if filled else None)
            if match and (statement := Statement(slot, match.groupdict())) not in found:
                found.append(statement)
        if len(found) != 1:
            fault = "can mean two things" if found else f"is no {self.family.name} sentence"
            raise Unreadable(f"{sentence!r} {fault} of domain {self.domain.name!r}")
        return found[0]

    @cached_property
    def _patterns(self) -> Mapping[str, Sequence[tuple[str, re.Pattern[str], bool]]]:
        """Slot, pattern and whether a placeholder comes first, by the template's first word; "" where it varies."""
        lists = {
            f"@{slot}": "(?:" + "|".join(sorted(map(re.escape, entries), key=len, reverse=True)) + ")"
            for slot, entries in self.words.items()
        }
        fields = {"options": re.escape(self.family.options), **self.family.fields}
        for name, expression in fields.items():
            fields[name] = re.sub(r"@\w+", lambda found: lists[found.group()], expression)
        patterns: dict[str, list[tuple[str, re.Pattern[str], bool]]] = {"": []}
        for (slot, _), templates in self._templates.items():
            for template in map(capitalized, templates):
                first, blank, _ = template.partition(" ")
                word = "" if "{" in first else first + blank
                pattern = re.compile("".join(_pieces(template, fields)))
                patterns.setdefault(word, []).append((slot, pattern, template.startswith("{")))
        return patterns


def _pieces(template: str, fields: Mapping[str, str]) -> list[str]:
    pieces = []
    for literal, field, _, _ in string.Formatter().parse(template):
        pieces.append(re.escape(literal))
        if field is not None:
            pieces.append(f"(?P<{field}>{fields[field]})")
    return pieces
