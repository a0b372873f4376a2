"""What the built-in student is pretrained on: words everywhere, single steps everywhere, chains only as symbols.

The rule that makes the student an honest test bed: it never sees a target task in any domain. Stories that take two
or more steps are never followed by reasoning, stories of a single step are never followed by a decision, and chains of
several steps appear in neutral symbols alone. Every domain, unseen ones included, gets the same treatment, so that a
later difference between domains comes from fine-tuning. The decisions themselves (in which band is the value? does the
trait follow? ...) are not taught in any form, so that fine-tuning must choose what to base them on.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from isograd.common.seeding import named_random
from isograd.isomers.symbolic.deduction import Deduction
from isograd.isomers.symbolic.domains import Domain, domain_names
from isograd.isomers.symbolic.families import FAMILIES, grammar
from isograd.isomers.symbolic.family import Cast, Family, Statement
from isograd.isomers.symbolic.grammar import Grammar, capitalized

__all__ = ["SYMBOLS", "documents", "symbols", "vocabulary_text"]

TAUGHT: Final[tuple[Family[Any], ...]] = tuple(
    Deduction(denials=True) if family.name == Deduction.name else family for family in FAMILIES.values()
)
"""The families as the student meets them: claims that deny something are read, though never judged."""

SYMBOLS = "symbols"
"""The name of the neutral form, where a domain's name would stand."""

HELD_OUT_RATE = 1 / 6
"""How often a document uses the held-out templates: as often as any other one."""


def documents(seed: int, part: int) -> Iterator[str]:
    """An endless stream of pretraining documents, each without begin and end marks.

    Args:
        seed: of the named generator.
        part: each part is a stream of its own, so that training can resume at any step.
    """
    rng = named_random("student", "pretraining", seed, part)
    kinds: list[Callable[[random.Random, Family[Any]], str]] = [
        _meaning,
        _single_step,
        _symbolic_chain,
        _description,
        _answer_words,
    ]
    weights = (0.2, 0.35, 0.25, 0.15, 0.05)
    while True:
        yield rng.choices(kinds, weights)[0](rng, rng.choice(TAUGHT))


def _problem(rng: random.Random, family: Family[Any], depth: int) -> Any:
    return family.draw(rng, depth, rng.choice(family.labels))


def _language(rng: random.Random, family: Family[Any]) -> Grammar:
    return grammar(family.name, rng.choice(domain_names()))


def _cue(rng: random.Random, domain: Domain) -> str:
    return f" {rng.choice(domain.cues)}" if rng.random() < 0.7 else ""


def _told(rng: random.Random, language: Grammar, story: Sequence[Statement], cue: str) -> str:
    held_out = rng.random() < HELD_OUT_RATE
    return " ".join(f"{language.say(statement, rng, held_out=held_out)}{cue}." for statement in story)


def _asked(rng: random.Random, language: Grammar, question: Statement) -> str:
    return language.say(question, rng, held_out=rng.random() < HELD_OUT_RATE)


def _meaning(rng: random.Random, family: Family[Any]) -> str:
    """One sentence, and what it says in neutral symbols."""
    language = _language(rng, family)
    problem = _problem(rng, family, 2)
    cast = language.cast(family.needs(problem), 0, rng)
    number, statement = rng.choice(list(enumerate(family.statements(problem, cast))))
    cue = _cue(rng, language.domain)
    return f"{_told(rng, language, [statement], cue)}\n{family.notation(problem, cast)[number]}{cue}"


def _single_step(rng: random.Random, family: Family[Any]) -> str:
    """A story that takes one step, its question, and that step; never a decision.

    The question stays away half of the time, but not where one sentence is the story: without it, the sentence is
    followed by its meaning.
    """
    language = _language(rng, family)
    problem, part, step = family.single_step(rng)
    cast = language.cast(family.needs(problem), 0, rng)
    cue = _cue(rng, language.domain)
    statements = family.statements(problem, cast)[part]
    story = _told(rng, language, statements, cue)
    if len(statements) == 1 or rng.random() < 0.5:
        story = f"{story} {_asked(rng, language, family.question(problem, cast))}"
    return f"{story}\n{family.steps(problem, cast)[step].text}{cue}"


def _symbolic_chain(rng: random.Random, family: Family[Any]) -> str:
    """A chain of reasoning in symbols."""
    problem = _problem(rng, family, rng.choice((1, 2, 2, 3, 3, 4)))
    cast = symbols(family, problem, rng)
    return "\n".join([" ; ".join(family.notation(problem, cast)), *(s.text for s in family.steps(problem, cast))])


def symbols(family: Family[Any], problem: Any, rng: random.Random) -> Cast:
    """Letters in place of words."""
    return {slot: rng.sample(string.ascii_lowercase, count) for slot, count in family.needs(problem).items()}


def _description(rng: random.Random, family: Family[Any]) -> str:
    """Sentences of a domain with nothing to work out after them."""
    language = _language(rng, family)
    problem, distractors = _problem(rng, family, rng.choice((1, 2, 3))), rng.choice((0, 0, 1))
    cast = language.cast(family.needs(problem), distractors, rng)
    story = family.statements(problem, cast)
    if distractors:
        story.insert(rng.randint(1, len(story)), family.distractor(cast, 1, rng))
    told = _told(rng, language, story, _cue(rng, language.domain))
    return f"{told} {_asked(rng, language, family.question(problem, cast))}" if rng.random() < 0.5 else told


def _answer_words(rng: random.Random, family: Family[Any]) -> str:
    """How an answer is written, with nothing to decide: the words are copied."""
    word = rng.choice(family.labels)
    return f"{word}\nAnswer: {word}"


def vocabulary_text() -> Iterator[str]:
    """Every word of every domain file in every position it can take, for the tokenizer."""
    for family in TAUGHT:
        for name in domain_names():
            yield from _words(grammar(family.name, name))
        rng = named_random("student", "vocabulary", family.name)
        yield f"x {family.options}? ({family.options})? {family.options}."
        for label in family.labels:
            yield f"{label}\nAnswer: {label}"
            for depth in (1, 2, 3, 4) * 10:
                problem = family.draw(rng, depth, label)
                cast = symbols(family, problem, rng)
                yield "\n".join(
                    [" ; ".join(family.notation(problem, cast)), *(s.text for s in family.steps(problem, cast))]
                )
                for statement in family.statements(problem, cast):
                    yield from (
                        f"x {value}. {capitalized(value)}\n{capitalized(value)}" for value in statement.fields.values()
                    )
    yield from (f"{sign} {sign}\n{sign}" for sign in (*string.ascii_lowercase, *string.digits))


def _words(language: Grammar) -> Iterator[str]:
    yield from (f"x {cue}." for cue in language.domain.cues)
    for entries in language.words.values():
        yield from (f"{entry} x {entry}, {entry}. {capitalized(entry)} x\n{capitalized(entry)}" for entry in entries)
    for slot, spec in language.family.slots.items():
        if spec.template:
            for template in language.domain.words[language.family.name][slot]:
                plain = re.sub(r"{\w+}", "x", template)
                yield f"{plain}. {plain}."
