"""Reading pretraining documents back, and working their steps out anew, without the code that wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.isomers.symbolic.families import FAMILIES, grammar
from isograd.isomers.symbolic.family import Statement, Unreadable

LABELS = {label for family in FAMILIES.values() for label in family.labels}
CUES = {cue for name in domain_names() for cue in load_domain(name).cues}
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
GAPS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
SIGNS = {"gain": "+", "receive": "+", "lose": "-", "send": "-"}
JOINS = {"first": "", "also": "and ", "alternative": "or ", "exception": "except "}
COPIED = re.compile(r"(\w+)\nAnswer: \1")
SYMBOL = re.compile(r"[a-z]|[TFU]|\d+|and|or|except|=>|->|<=|>=|[=+&;-]")


@dataclass(frozen=True)
class Story:
    """A document that begins with sentences of a domain.

    Attributes:
        family, domain: names.
        said: each sentence as it was written, cue and mark left out, with what it says; the question too.
        cue: at the end of every sentence.
        lines: what follows the first line.
    """

    family: str
    domain: str
    said: tuple[tuple[str, Statement], ...]
    cue: str | None
    lines: tuple[str, ...]

    @property
    def told(self) -> list[Statement]:
        """What matters: neither distractors nor the question."""
        return [statement for _, statement in self.said if statement.slot not in ("distractor", "question")]

    @property
    def asked(self) -> bool:
        return any(statement.slot == "question" for _, statement in self.said)


@dataclass(frozen=True)
class Symbols:
    """A document without sentences: statements in symbols, and the lines after them."""

    family: str
    statements: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """A word, and how it is written as an answer."""

    word: str


class BrokenRuleError(AssertionError):
    """A document that breaks the rule."""


def read(document: str) -> Story | Symbols | Copy:
    """What kind of document it is, by its text alone."""
    first, *lines = document.split("\n")
    if copied := COPIED.fullmatch(document):
        return Copy(copied[1])
    if first.endswith((".", "?")):
        return _story(first, tuple(lines))
    statements = tuple(first.split(" ; "))
    return Symbols(family_of(statements), statements, tuple(lines))


def _story(first: str, lines: tuple[str, ...]) -> Story:
    sentences = re.split(r"(?<=\.) ", first)
    ends = {sentence[:-1].rsplit(" ", 1)[-1] for sentence in sentences if sentence.endswith(".")}
    cue = min(ends & CUES, default=None)
    if cue is not None and len(ends) > 1:
        raise BrokenRuleError("some sentences carry the cue, others do not")
    plain = [s.removesuffix(".").removesuffix(f" {cue}" if s.endswith(".") else "") for s in sentences]
    stories = [
        Story(family, domain, tuple(zip(plain, said, strict=True)), cue, lines)
        for family in FAMILIES
        for domain in domain_names()
        if None not in (said := [statement(family, domain, sentence) for sentence in plain])
    ]
    if len(stories) != 1:
        raise BrokenRuleError(f"reads as {len(stories)} stories")
    (story,) = stories
    if cue is not None and cue not in load_domain(story.domain).cues:
        raise BrokenRuleError("the cue is another domain's")
    for sentence, (_, statement_) in zip(sentences, story.said, strict=True):
        if (statement_.slot == "question") != sentence.endswith("?"):
            raise BrokenRuleError("a question ends with a question mark, anything else with a period")
    return story


@cache
def statement(family: str, domain: str, sentence: str) -> Statement | None:
    """What a sentence says in a family and a domain, if anything."""
    try:
        return grammar(family, domain).read(sentence)
    except Unreadable:
        return None


def notation(family: str, said: Statement) -> str:
    """A statement in symbols."""
    fields = said.fields
    if family == "arithmetic":
        return fields["n"] if said.slot == "start" else f"{SIGNS[said.slot]} {fields['n']}"
    if family == "deduction":
        if said.slot == "fact":
            return _literal(fields["state"])
        condition = " & ".join(_literal(part) for part in fields["condition"].split(" and "))
        return f"{condition} -> {_literal(fields['result'])}"
    if family == "ordering":
        if said.slot == "start":
            return f"{fields['a']} = {ORDINALS.index(fields['place']) + 1}"
        sign, gap = ("+" if said.slot == "after" else "-"), GAPS.index(fields["gap"].split()[0]) + 1
        return f"{fields['b']} = {fields['a']} {sign} {gap}"
    _, side, bound = fields["bound"].split()
    return f"{JOINS[said.slot]}{fields['n']} {'>=' if side == 'least' else '<='} {bound}"


def _literal(text: str) -> str:
    return f"{text.removeprefix('not ')} {'F' if text.startswith('not ') else 'T'}"


def family_of(statements: Sequence[str]) -> str:
    """The family whose statements in symbols these are."""
    first, last = statements[0], statements[-1]
    for family, pattern, text in (
        ("arithmetic", r"\d+", first),
        ("deduction", r"\w [TF]", first),
        ("ordering", r"\w = \d", first),
        ("eligibility", r"except \d+ [<>]= \d+", last),
    ):
        if re.fullmatch(pattern, text):
            return family
    raise BrokenRuleError(f"no family says {' ; '.join(statements)!r}")


def work(family: str, statements: Sequence[str]) -> list[str]:
    """The steps that follow from statements in symbols, in their order."""
    worker = {"arithmetic": _sums, "deduction": _rules, "ordering": _places, "eligibility": _checks}[family]
    return list(worker(statements))


def _sums(statements: Sequence[str]) -> Iterator[str]:
    value = int(statements[0])
    for change in statements[1:]:
        sign, amount = change.split()
        after = value + int(sign + amount)
        yield f"{value} {change} = {after}"
        value = after


def _rules(statements: Sequence[str]) -> Iterator[str]:
    known: dict[str, str] = {}
    for text in statements:
        if " -> " not in text:
            trait, letter = text.rsplit(" ", 1)
            known[trait] = letter
            continue
        condition, result = text.split(" -> ")
        premises = [premise.rsplit(" ", 1) for premise in condition.split(" & ")]
        trait, letter = result.rsplit(" ", 1)
        known[trait] = letter if all(known[premise] == wanted for premise, wanted in premises) else "U"
        yield f"{text} ; {' '.join(known[premise] for premise, _ in premises)} => {known[trait]}"


def _places(statements: Sequence[str]) -> Iterator[str]:
    places: dict[str, int] = {}
    for text in statements:
        who, place = text.split(" = ")
        if place.isdigit():
            places[who] = int(place)
            continue
        before, sign, gap = place.rsplit(" ", 2)
        places[who] = places[before] + int(sign + gap)
        yield f"{who} {places[before]} {sign} {gap} = {places[who]}"


def _checks(statements: Sequence[str]) -> Iterator[str]:
    so_far: bool | None = None
    for text in statements:
        *join, _, _, _ = text.split()
        met = _met(text)
        yield f"{text} {_letter(met)}"
        if join and join != ["except"]:
            assert so_far is not None
            after = so_far and met if join == ["and"] else so_far or met
            yield f"{_letter(so_far)} {join[0]} {_letter(met)} = {_letter(after)}"
            so_far = after
        elif so_far is None:
            so_far = met


def _met(condition: str) -> bool:
    *_, number, sign, bound = condition.split()
    return int(number) >= int(bound) if sign == ">=" else int(number) <= int(bound)


def _letter(truth: bool) -> str:
    return "T" if truth else "F"


def check(document: str) -> None:
    """The rule: no document shows a target task, and what it shows is right.

    Raises:
        BrokenRuleError: it does not keep to the rule.
    """
    found = read(document)
    if isinstance(found, Copy):
        if found.word not in LABELS:
            raise BrokenRuleError("copies a word that is no answer")
    elif isinstance(found, Symbols):
        _check_symbols(document, found)
    else:
        _check_story(found)
    if "Answer" in document and not isinstance(found, Copy):
        raise BrokenRuleError("decides something")


def _check_symbols(document: str, found: Symbols) -> None:
    if not all(SYMBOL.fullmatch(word) for word in document.split()):
        raise BrokenRuleError("has words among its symbols")
    if list(found.lines) != work(found.family, found.statements):
        raise BrokenRuleError("its steps do not follow from its statements")


def _check_story(story: Story) -> None:
    if any(said.slot == "question" for _, said in story.said[:-1]):
        raise BrokenRuleError("asks in the middle")
    statements = [notation(story.family, said) for said in story.told]
    suffix = f" {story.cue}" if story.cue else ""
    if not statements:
        raise BrokenRuleError("tells nothing")
    if len(statements) > 1:
        # Several conditions are several steps, whichever they are.
        steps = [] if story.family == "eligibility" else work(story.family, statements)
        allowed = steps if len(steps) == 1 else []
    elif not story.asked:
        allowed = statements
    else:
        # One condition is one step; one sentence of any other family is none.
        allowed = [f"{statements[0]} {_letter(_met(statements[0]))}"] if story.family == "eligibility" else []
    if story.lines and [*story.lines] not in [[line + suffix] for line in allowed]:
        raise BrokenRuleError(f"{len(statements)} statements are followed by {story.lines}, not by one of {allowed}")
    for sentence, said in story.said:
        _check_words(story.family, sentence, said)


def _check_words(family: str, sentence: str, said: Statement) -> None:
    """Words of an answer stand where the options are listed, where a place is given, and in the exception."""
    if said.slot == "exception":
        return
    plain = sentence.lower()
    for allowed in (said.fields.get("options"), said.fields.get("place")):
        plain = plain.replace(allowed, "", 1) if allowed else plain
    words = LABELS & set(re.findall(r"\w+", plain))
    if words:
        raise BrokenRuleError(f"{family} says {', '.join(words)} outside of its options")
