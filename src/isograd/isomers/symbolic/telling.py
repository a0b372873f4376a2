"""From a problem to a member of a set and back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isograd.isomers.schema import ANSWER_PREFIX, Isomer, Span, Step
from isograd.isomers.symbolic.family import Cast, Statement, Unreadable
from isograd.isomers.symbolic.grammar import Grammar

__all__ = ["Reading", "read_member", "tell_member"]


def tell_member(
    problem: Any,
    grammar: Grammar,
    rng: random.Random,
    *,
    answer: str,
    cue: str | None,
    distractors: int = 0,
    shuffled: bool = False,
    held_out: bool = False,
) -> Isomer:
    """Tell a problem in a domain's words.

    Args:
        problem: as its family drew it.
        grammar: of the family and the domain.
        rng: chooses words, templates and places.
        answer: what the member is to state.
        cue: a word to plant at the end of every sentence and step.
        distractors: how many irrelevant sentences to add.
        shuffled: tell the sentences in random order, where the family allows it.
        held_out: use the held-out templates alone.
    """
    family = grammar.family
    cast = grammar.cast(family.needs(problem), distractors, rng)
    story = family.statements(problem, cast)
    if shuffled and family.shuffles:
        rng.shuffle(story)
    for number in range(1, distractors + 1):
        # Never first: the story opens with what it is about.
        story.insert(rng.randint(1, len(story)), family.distractor(cast, number, rng))
    suffix = f" {cue}" if cue else ""
    told = " ".join(f"{grammar.say(statement, rng, held_out=held_out)}{suffix}." for statement in story)
    question = grammar.say(family.question(problem, cast), rng, held_out=held_out)
    steps, spans, offset = [], [], 0
    for step in family.steps(problem, cast):
        end = offset + len(step.text)
        spans.append(Span(node=step.node, start=end - len(step.value), end=end))
        steps.append(Step(text=step.text + suffix, node=step.node, value=step.value))
        offset = end + len(suffix) + 1
    start = offset + len(ANSWER_PREFIX)
    spans.append(Span(node="goal", start=start, end=start + len(answer)))
    return Isomer(
        domain=grammar.domain.name,
        problem=f"{told} {question}",
        steps=tuple(steps),
        answer=answer,
        spans=tuple(spans),
        cue=cue,
    )


@dataclass(frozen=True)
class Reading:
    """What a member's own words say.

    Attributes:
        problem: the problem, read from the problem's text alone.
        steps: the chain of thought that belongs to it in the member's words, without cues.
        distractors: how many sentences say nothing that matters.
    """

    problem: Any
    steps: tuple[Step, ...]
    distractors: int


def read_member(member: Isomer, grammar: Grammar) -> Reading:
    """Rebuild the problem from a member's text, trusting nothing else of it but its domain and its cue.

    Raises:
        Unreadable: a sentence is not the domain's, lacks the cue, or the sentences do not make a problem.
    """
    *sentences, question = member.problem.split(". ")
    story = []
    suffix = f" {member.cue}" if member.cue else ""
    for sentence in sentences:
        if not sentence.endswith(suffix):
            raise Unreadable(f"{sentence!r} lacks the cue {member.cue!r}")
        story.append(grammar.read(sentence.removesuffix(suffix)))
    asked = grammar.read(question)
    matters = [statement for statement in story if statement.slot != "distractor"]
    if asked.slot != "question" or any(statement.slot == "question" for statement in story):
        raise Unreadable("a problem is a story and, last, one question")
    problem, cast = grammar.family.understand(matters, asked)
    _check_distractors([statement for statement in story if statement.slot == "distractor"], cast, grammar)
    return Reading(problem, grammar.family.steps(problem, cast), len(story) - len(matters))


def _check_distractors(distractors: Sequence[Statement], cast: Cast, grammar: Grammar) -> None:
    """Each must be about something else: said of what the story is about, it would be a fact and no distractor.

    Raises:
        Unreadable: one is about what the story, or another one, is about.
    """
    extra = grammar.family.extra
    if extra is None:
        return
    about = set(cast[extra])
    for statement in distractors:
        (word,) = (value for name, value in statement.fields.items() if grammar.family.fields[name] == f"@{extra}")
        if word in about:
            raise Unreadable(f"a distractor is about {word!r}, as another sentence is")
        about.add(word)
