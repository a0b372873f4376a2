"""The chain of thought and the places of its values spoiled."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from isograd.isomers import IsomerSet, Span, Step
from isograd.isomers.verify.checks import Reason
from mutators.tools import anyone, other, spoils, with_all, with_member, with_steps

# The steps


@spoils(Reason.STEP_ORDER, anywhere=True)
def two_steps_swapped_in_one_member(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    index, member = anyone(isomer_set, rng)
    if len(member.steps) < 2:
        return None
    steps = list(member.steps)
    i, j = rng.sample(range(len(steps)), 2)
    steps[i], steps[j] = steps[j], steps[i]
    return with_member(isomer_set, index, with_steps(member, steps))


@spoils(Reason.STEP_TEXT)
def two_lines_swapped_under_their_nodes(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    index, member = anyone(isomer_set, rng)
    pairs = [(i, j) for i in range(len(member.steps)) for j in range(i) if member.steps[i].text != member.steps[j].text]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    steps = list(member.steps)
    steps[i], steps[j] = (
        steps[a].model_copy(update={"text": steps[b].text, "value": steps[b].value}) for a, b in ((i, j), (j, i))
    )
    return with_member(isomer_set, index, with_steps(member, steps))


@spoils(Reason.STEP_NUMBER, anywhere=True)
def a_step_dropped_in_one_member(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    lost = rng.randrange(len(member.steps))
    return with_member(isomer_set, index, with_steps(member, member.steps[:lost] + member.steps[lost + 1 :]))


@spoils(Reason.STEP_NUMBER, anywhere=True)
def a_step_dropped_in_all_members(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    lost = rng.randrange(len(isomer_set.members[0].steps))
    return with_all(isomer_set, lambda member: with_steps(member, member.steps[:lost] + member.steps[lost + 1 :]))


@spoils(Reason.STEP_NUMBER, anywhere=True)
def a_step_told_twice(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    place = rng.randrange(len(member.steps))
    return with_member(isomer_set, index, with_steps(member, member.steps[: place + 1] + member.steps[place:]))


def with_step(isomer_set: IsomerSet, index: int, place: int, **update: str) -> IsomerSet:
    member = isomer_set.members[index]
    steps = list(member.steps)
    steps[place] = steps[place].model_copy(update=update)
    return with_member(isomer_set, index, with_steps(member, steps))


@spoils(Reason.STEP_TEXT)
def a_word_of_a_step_changed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """Any word but the value: an operand, a sign, a name, a letter, the cue."""
    index, member = anyone(isomer_set, rng)
    place = rng.randrange(len(member.steps))
    line = member.steps[place].text.split(" ")
    last = len(line) - 2 if member.cue else len(line) - 1
    word = rng.choice([i for i in range(len(line)) if i != last])
    old = line[word]
    line[word] = str(int(old) + 1) if old.isdigit() else other(rng, ("T", "F", "and", "or", "+", "-", "except"), old)
    return with_step(isomer_set, index, place, text=" ".join(line))


@spoils(Reason.STEP_VALUE, anywhere=True)
def a_step_s_value_changed_in_line_and_field(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    place = rng.randrange(len(member.steps))
    step = member.steps[place]
    value = str(int(step.value) + rng.choice((-1, 1))) if step.value.isdigit() else other(rng, "TFU", step.value)
    head, _, tail = step.text.rpartition(step.value) if not member.cue else _around(step, member.cue)
    return with_step(isomer_set, index, place, text=f"{head}{value}{tail}", value=value)


def _around(step: Step, cue: str) -> tuple[str, str, str]:
    head = step.text.removesuffix(f" {cue}").removesuffix(step.value)
    return head, step.value, f" {cue}"


@spoils(Reason.STEP_VALUE, anywhere=True)
def a_step_s_value_changed_in_the_field(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    place = rng.randrange(len(member.steps))
    step = member.steps[place]
    value = str(int(step.value) + rng.choice((-1, 1))) if step.value.isdigit() else other(rng, "TFU", step.value)
    return with_step(isomer_set, index, place, value=value)


@spoils(Reason.STEP_VALUE)
def a_step_s_value_spelled_otherwise(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """The same value, but not what the line of the built-in generator says."""
    index, member = anyone(isomer_set, rng)
    place = rng.randrange(len(member.steps))
    step = member.steps[place]
    value = f"{step.value}.0" if step.value.isdigit() else step.value.lower()
    head, _, tail = _around(step, member.cue) if member.cue else step.text.rpartition(step.value)
    return with_step(isomer_set, index, place, text=f"{head}{value}{tail}", value=value)


@spoils(Reason.STEP_TEXT)
def a_step_in_another_member_s_words(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    index, member = anyone(isomer_set, rng)
    found = [
        (place, theirs.text)
        for place, step in enumerate(member.steps)
        for another in isomer_set.members
        if (theirs := another.steps[place]).text != step.text
    ]
    if not found:
        return None  # numbers alone, and no cue
    place, text = rng.choice(found)
    return with_step(isomer_set, index, place, text=text)


# Spans


def _with_spans(isomer_set: IsomerSet, index: int, spans: Sequence[Span]) -> IsomerSet:
    return with_member(isomer_set, index, isomer_set.members[index].model_copy(update={"spans": tuple(spans)}))


@spoils(Reason.SPAN, anywhere=True)
def a_span_off_by_one(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    spans = list(member.spans)
    place = rng.randrange(len(spans))
    first, last = rng.choice(((-1, 0), (0, 1), (-1, -1), (1, 1), (1, 0), (0, -1)))
    old = spans[place]
    moved = old.model_copy(update={"start": old.start + first, "end": old.end + last})
    if moved.start >= moved.end or moved.end > len(member.completion):
        moved = old.model_copy(update={"start": old.start - 1})
    spans[place] = moved
    return _with_spans(isomer_set, index, spans)


@spoils(Reason.SPAN, anywhere=True)
def a_span_missing(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    lost = rng.randrange(len(member.spans))
    return _with_spans(isomer_set, index, member.spans[:lost] + member.spans[lost + 1 :])


@spoils(Reason.SPAN, anywhere=True)
def a_span_too_many(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    return _with_spans(isomer_set, index, [*member.spans, rng.choice(member.spans)])


@spoils(Reason.SPAN, anywhere=True)
def two_spans_swapped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    spans = list(member.spans)
    i, j = rng.sample(range(len(spans)), 2)
    spans[i], spans[j] = spans[j], spans[i]
    return _with_spans(isomer_set, index, spans)


@spoils(Reason.SPAN, anywhere=True)
def a_span_of_another_node(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    spans = list(member.spans)
    place = rng.randrange(len(spans))
    name = other(rng, [node.id for node in isomer_set.graph.nodes] + ["nothing"], spans[place].node)
    spans[place] = spans[place].model_copy(update={"node": name})
    return _with_spans(isomer_set, index, spans)


@spoils(Reason.SPAN)
def a_span_of_the_same_word_elsewhere(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """``4`` in ``8 - 4 = 4`` stands twice; only one of them is the value."""
    index, member = anyone(isomer_set, rng)
    found = [
        (place, match)
        for place, span in enumerate(member.spans)
        for match in re.finditer(re.escape(member.completion[span.start : span.end]), member.completion)
        if match.start() != span.start
    ]
    if not found:
        return None
    place, match = rng.choice(found)
    spans = list(member.spans)
    spans[place] = spans[place].model_copy(update={"start": match.start(), "end": match.end()})
    return _with_spans(isomer_set, index, spans)
