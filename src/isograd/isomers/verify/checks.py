"""The checks of one set. They trust nothing that the set says of itself.

Members of the built-in generator are read back: their sentences are parsed with the domain's own templates, the
problem is rebuilt from them, and its graph and chain of thought are compared with the set's. Members of other origin
are compared by the graph that they carry, where a reader has re-abstracted one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from isograd.common.errors import UserError
from isograd.isomers.graph import execute, isomorphic, problems, structure_hash
from isograd.isomers.schema import Isomer, IsomerSet, Value
from isograd.isomers.symbolic.families import FAMILIES, grammar
from isograd.isomers.symbolic.family import Unreadable
from isograd.isomers.symbolic.generate import GENERATOR
from isograd.isomers.symbolic.telling import read_member
from isograd.isomers.verify.overlap import pairwise
from isograd.isomers.verify.text import words

__all__ = ["MAX_OVERLAP", "Finding", "Reason", "check_set", "overlaps"]

MAX_OVERLAP: Final = 0.4
"""The largest Jaccard index of content words that two members of a set may have."""


class Reason(StrEnum):
    """Why a set is rejected (or, for ``*_unchecked``, what could not be checked and does not reject)."""

    GRAPH = "graph_invalid"
    HASH = "structure_hash"
    VALUE = "value_wrong"
    PROVENANCE = "provenance"
    DOMAIN = "domain_unknown"
    TEXT = "text_unreadable"
    STRUCTURE = "structure_differs"
    STRUCTURE_UNCHECKED = "structure_unchecked"
    GIVEN = "given_missing"
    STEP_NUMBER = "steps_number"
    STEP_ORDER = "steps_order"
    STEP_TEXT = "step_text"
    STEP_VALUE = "step_value"
    SPAN = "span"
    LABEL = "answer_label"
    ANSWER = "answer_wrong"
    ANSWERS = "answers_differ"
    ANSWER_UNCHECKED = "answer_unchecked"
    NOISE = "noise_claim"
    OVERLAP = "overlap"
    DUPLICATE = "duplicate"

    @property
    def rejects(self) -> bool:
        """Whether a set with this finding fails."""
        return self not in (Reason.STRUCTURE_UNCHECKED, Reason.ANSWER_UNCHECKED)


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        reason: machine-readable; a :class:`Reason` or a :class:`~isograd.isomers.verify.leakage.LeakReason`.
        where: the field, or the member's domain, it was found in.
        detail: what was found, in words.
    """

    reason: StrEnum
    where: str
    detail: str


def overlaps(isomer_set: IsomerSet) -> dict[tuple[str, str], float]:
    """The Jaccard index of the content words of each pair of members' problems, by their domains."""
    return pairwise({member.domain: member.problem for member in isomer_set.members})


def check_set(
    isomer_set: IsomerSet, *, max_overlap: float = MAX_OVERLAP, domains: Mapping[str, str] | None = None
) -> list[Finding]:
    """All checks that need nothing but the set: graph, execution, structure, steps, spans, answers, overlap.

    Args:
        isomer_set: a set, whoever made it.
        max_overlap: the largest overlap of two members.
        domains: files of domains that isograd does not bring, by name.

    Returns:
        What was found, in the order of the checks; empty for a sound set.
    """
    graph = isomer_set.graph
    faults = [Finding(Reason.GRAPH, "graph", fault) for fault in problems(graph)]
    if faults:
        return faults
    found = []
    if structure_hash(graph) != isomer_set.structure:
        found.append(Finding(Reason.HASH, "structure", "is not the hash of the graph"))
    found += _execution(isomer_set)
    generated = isomer_set.provenance.generator == GENERATOR
    if generated:
        found += _origin(isomer_set)
    for member in isomer_set.members:
        found += _steps(isomer_set, member)
        found += _spans(isomer_set, member)
        if generated and isomer_set.family in FAMILIES:
            found += _read(isomer_set, member, domains or {})
        else:
            found += _compare(isomer_set, member)
    found += _answers(isomer_set)
    found += [
        Finding(Reason.OVERLAP, f"{first}, {second}", f"{share:.2f} of their content words are shared")
        for (first, second), share in overlaps(isomer_set).items()
        if share > max_overlap
    ]
    return found


def _execution(isomer_set: IsomerSet) -> Iterator[Finding]:
    try:
        values = execute(isomer_set.graph)
    except KeyError as error:
        yield Finding(Reason.ANSWER_UNCHECKED, "graph", f"nobody can execute the operator {error.args[0]!r}")
        return
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        yield Finding(Reason.GRAPH, "graph", f"cannot be executed: {error}")
        return
    for node in isomer_set.graph.steps:
        if node.value is None:
            yield Finding(Reason.ANSWER_UNCHECKED, f"graph.{node.id}", "states no value")
        elif not _same(node.value, values[node.id]):
            yield Finding(
                Reason.VALUE, f"graph.{node.id}", f"states {node.value!r}, executing gives {values[node.id]!r}"
            )


def _origin(isomer_set: IsomerSet) -> Iterator[Finding]:
    family = FAMILIES.get(isomer_set.family)
    if family is None:
        yield Finding(Reason.PROVENANCE, "family", f"{GENERATOR} has no family {isomer_set.family!r}")
    elif isomer_set.labels != family.labels:
        yield Finding(Reason.LABEL, "labels", f"are not those of {family.name}: {', '.join(family.labels)}")


def _steps(isomer_set: IsomerSet, member: Isomer) -> Iterator[Finding]:
    wanted = [node for node in isomer_set.graph.steps if node is not isomer_set.graph.goal]
    if len(member.steps) != len(wanted):
        yield Finding(Reason.STEP_NUMBER, member.domain, f"has {len(member.steps)} steps, the graph {len(wanted)}")
        return
    if [step.node for step in member.steps] != [node.id for node in wanted]:
        order = ", ".join(step.node for step in member.steps)
        yield Finding(Reason.STEP_ORDER, member.domain, f"derives {order}, not {', '.join(n.id for n in wanted)}")
        return
    for step, node in zip(member.steps, wanted, strict=True):
        if node.value is not None and not _stated(node.value, step.value):
            yield Finding(
                Reason.STEP_VALUE, f"{member.domain}.{node.id}", f"states {step.value!r}, the graph has {node.value!r}"
            )
        if step.value not in step.text:
            yield Finding(Reason.STEP_VALUE, f"{member.domain}.{node.id}", f"does not say its value {step.value!r}")


def _spans(isomer_set: IsomerSet, member: Isomer) -> Iterator[Finding]:
    wanted = [*((step.node, step.value) for step in member.steps), (isomer_set.graph.goal.id, member.answer)]
    if [span.node for span in member.spans] != [node for node, _ in wanted]:
        yield Finding(Reason.SPAN, member.domain, "spans do not follow the steps and, last, the answer")
        return
    text, least = member.completion, 0
    for span, (node, value) in zip(member.spans, wanted, strict=True):
        if text[span.start : span.end] != value or span.start < least:
            said = text[span.start : span.end]
            yield Finding(
                Reason.SPAN, f"{member.domain}.{node}", f"covers {said!r}, not the value {value!r} in its line"
            )
        least = span.end


def _read(isomer_set: IsomerSet, member: Isomer, domains: Mapping[str, str]) -> Iterator[Finding]:
    try:
        language = grammar(isomer_set.family, domains.get(member.domain, member.domain))
    except UserError as error:
        yield Finding(Reason.DOMAIN, member.domain, str(error))
        return
    if member.cue is not None and member.cue not in language.domain.cues:
        yield Finding(Reason.TEXT, member.domain, f"{member.cue!r} is no cue of the domain")
        return
    try:
        reading = read_member(member, language)
    except Unreadable as error:
        yield Finding(Reason.TEXT, member.domain, str(error))
        return
    if not isomorphic(isomer_set.graph, language.family.graph(reading.problem)):
        yield Finding(Reason.STRUCTURE, member.domain, "the problem's words make another graph")
        return
    cue = f" {member.cue}" if member.cue else ""
    for step, wanted in zip(member.steps, reading.steps, strict=False):
        text = wanted.text + cue
        if step.text != text:
            yield Finding(Reason.STEP_TEXT, f"{member.domain}.{step.node}", f"says {step.text!r}, not {text!r}")


def _compare(isomer_set: IsomerSet, member: Isomer) -> Iterator[Finding]:
    if member.graph is not None:
        if not isomorphic(isomer_set.graph, member.graph):
            yield Finding(Reason.STRUCTURE, member.domain, "the member's own graph is not isomorphic to the set's")
        return
    yield Finding(
        Reason.STRUCTURE_UNCHECKED, member.domain, "carries no graph of its own and has no grammar to read it"
    )
    numbers = Counter(_number(word) for word in words(member.problem))
    for node in isomer_set.graph.nodes:
        if node.op is None and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            if not numbers[float(node.value)]:
                yield Finding(
                    Reason.GIVEN, member.domain, f"the number {node.value} of {node.id!r} is not in the problem"
                )
            numbers[float(node.value)] -= 1


def _number(word: str) -> float:
    try:
        return float(word.replace(",", ""))
    except ValueError:
        return math.nan


def _answers(isomer_set: IsomerSet) -> Iterator[Finding]:
    stated = {member.answer for member in isomer_set.members}
    if len(stated) > 1:
        yield Finding(Reason.ANSWERS, "members", f"state different answers: {', '.join(sorted(stated))}")
    value = isomer_set.graph.goal.value
    for member in isomer_set.members:
        if isomer_set.labels and member.answer not in isomer_set.labels:
            yield Finding(Reason.LABEL, member.domain, f"{member.answer!r} is none of {', '.join(isomer_set.labels)}")
        elif value is not None:
            right = _stated(value, member.answer)
            if isomer_set.noisy and right:
                yield Finding(Reason.NOISE, member.domain, "the set claims a wrong answer but states the right one")
            elif not isomer_set.noisy and not right:
                yield Finding(Reason.ANSWER, member.domain, f"states {member.answer!r}, the graph gives {value!r}")


def _same(first: Value, second: Value) -> bool:
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def _stated(value: Value, text: str) -> bool:
    """Whether a text states a value: a truth value as a letter or a word, a number in digits, a text as it is."""
    if isinstance(value, bool):
        return text.lower() in (("t", "true", "yes") if value else ("f", "false", "no"))
    if isinstance(value, str):
        return text == value
    return _number(text) == float(value)
