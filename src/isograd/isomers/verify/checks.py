"""The checks of one set. They trust nothing that the set says of itself.

Members of the built-in generator are read back (:mod:`isograd.isomers.verify.generated`). Members of other origin are
compared by the graph that they carry, where a reader has re-abstracted one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from isograd.isomers.graph import isomorphic, problems, structure_hash
from isograd.isomers.schema import ANSWER_PREFIX, Isomer, IsomerSet, ReasoningGraph, Value
from isograd.isomers.symbolic.generate import GENERATOR
from isograd.isomers.verify.findings import Finding, Reason
from isograd.isomers.verify.generated import check_generated
from isograd.isomers.verify.overlap import pairwise
from isograd.isomers.verify.text import content_words, words
from isograd.isomers.verify.values import computed, number, says

__all__ = ["MAX_OVERLAP", "Finding", "Reason", "check_set", "comparable", "overlaps"]

MAX_OVERLAP: Final = 0.5
"""The largest Jaccard index of content words that two members of a set may have: of 84,000 pairs of short generated
problems the most alike reach 0.33."""

MOST_NODES: Final = 500
MOST_EDGES: Final = 2000
"""Larger graphs are refused: comparing them exactly can take hours. Generated ones have 40 nodes at most."""

Values = Mapping[str, Value | None]

_UNITS: Final = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_ORDINALS: Final = "first second third fourth fifth sixth seventh eighth ninth"
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELLED: Final = {
    **{word: Decimal(value) for value, word in enumerate(_UNITS.split())},
    **{word: Decimal(value) for value, word in enumerate(_ORDINALS.split(), 1)},
    **{word: Decimal(10 * value) for value, word in enumerate(_TENS.split(), 2)},
}


def overlaps(isomer_set: IsomerSet) -> dict[tuple[str, str], float]:
    """The Jaccard index of the content words of each pair of members' problems, by their domains.

    The set's labels are left out: questions list them, in all domains the same.
    """
    labels = frozenset(word for label in isomer_set.labels for word in content_words(label))
    return pairwise({member.domain: member.problem for member in isomer_set.members}, labels)


def check_set(
    isomer_set: IsomerSet,
    *,
    max_overlap: float = MAX_OVERLAP,
    domains: Mapping[str, str] | None = None,
    shared: Mapping[tuple[str, str], float] | None = None,
) -> list[Finding]:
    """All checks that need nothing but the set: graph, execution, structure, steps, spans, answers, overlap.

    Args:
        isomer_set: a set, whoever made it.
        max_overlap: the largest overlap of two members.
        domains: files of domains that isograd does not bring, by name.
        shared: :func:`overlaps` of the set, by those who need them too.

    Returns:
        What was found, in the order of the checks; empty for a sound set.
    """
    graph = isomer_set.graph
    faults = [Finding(Reason.GRAPH, "graph", fault) for fault in _faults(graph)]
    if faults:
        return faults
    found = []
    if structure_hash(graph) != isomer_set.structure:
        found.append(Finding(Reason.HASH, "structure", "is not the hash of the graph"))
    values, faults = computed(graph)
    found += faults
    generated = isomer_set.provenance.generator == GENERATOR
    if generated:
        found += check_generated(isomer_set, domains or {})
    for member in isomer_set.members:
        found += _steps(isomer_set, member, values)
        found += _spans(isomer_set, member)
        if member.graph is not None:
            found += _own_graph(isomer_set, member)
        elif not generated:
            found += _givens(isomer_set, member)
    found += _answers(isomer_set, values.get(graph.goal.id))
    found += [
        Finding(Reason.OVERLAP, f"{first}, {second}", f"{share:.2f} of their content words are shared")
        for (first, second), share in (overlaps(isomer_set) if shared is None else shared).items()
        if share > max_overlap
    ]
    return found


def comparable(graph: ReasoningGraph) -> bool:
    """Whether a graph is small enough to be compared with others."""
    return len(graph.nodes) <= MOST_NODES and len(graph.edges) <= MOST_EDGES


def _faults(graph: ReasoningGraph) -> list[str]:
    if not comparable(graph):
        return [
            f"{len(graph.nodes)} nodes and {len(graph.edges)} edges, more than the {MOST_NODES} and {MOST_EDGES} that "
            "can be compared"
        ]
    return problems(graph)


def _steps(isomer_set: IsomerSet, member: Isomer, values: Values) -> Iterator[Finding]:
    goal = isomer_set.graph.goal
    wanted = [node for node in isomer_set.graph.steps if node is not goal]
    if len(member.steps) != len(wanted):
        yield Finding(Reason.STEP_NUMBER, member.domain, f"has {len(member.steps)} steps, the graph {len(wanted)}")
        return
    if [step.node for step in member.steps] != [node.id for node in wanted]:
        order = ", ".join(step.node for step in member.steps)
        yield Finding(Reason.STEP_ORDER, member.domain, f"derives {order}, not {', '.join(n.id for n in wanted)}")
        return
    for step in member.steps:
        where, value = f"{member.domain}.{step.node}", values.get(step.node)
        if value is not None and not says(value, step.value):
            yield Finding(Reason.STEP_VALUE, where, f"states {step.value!r}, the graph has {value!r}")
        if not step.value or step.value not in step.text:
            yield Finding(Reason.STEP_VALUE, where, f"does not say its value {step.value!r}")


def _spans(isomer_set: IsomerSet, member: Isomer) -> Iterator[Finding]:
    text, start = member.completion, 0
    wanted = []
    for step in member.steps:
        wanted.append((step.node, step.value, start, start + len(step.text)))
        start += len(step.text) + 1
    wanted.append((isomer_set.graph.goal.id, member.answer, start + len(ANSWER_PREFIX), len(text)))
    if [span.node for span in member.spans] != [node for node, *_ in wanted]:
        yield Finding(Reason.SPAN, member.domain, "spans do not follow the steps and, last, the answer")
        return
    for span, (node, value, first, last) in zip(member.spans, wanted, strict=True):
        if text[span.start : span.end] != value or not first <= span.start < span.end <= last:
            said = text[span.start : span.end]
            yield Finding(
                Reason.SPAN, f"{member.domain}.{node}", f"covers {said!r}, not the value {value!r} in its line"
            )


def _own_graph(isomer_set: IsomerSet, member: Isomer) -> Iterator[Finding]:
    assert member.graph is not None
    faults = _faults(member.graph)
    yield from (Finding(Reason.GRAPH, f"{member.domain}.graph", fault) for fault in faults)
    if not faults and not isomorphic(isomer_set.graph, member.graph):
        yield Finding(Reason.STRUCTURE, member.domain, "the member's own graph is not isomorphic to the set's")


def _givens(isomer_set: IsomerSet, member: Isomer) -> Iterator[Finding]:
    yield Finding(
        Reason.STRUCTURE_UNCHECKED, member.domain, "carries no graph of its own and has no grammar to read it"
    )
    numbers = Counter(_numbers(member.problem))
    for node in isomer_set.graph.nodes:
        if node.op is None and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            value = abs(Decimal(repr(node.value)))  # words have no sign
            if not numbers[value]:
                yield Finding(
                    Reason.GIVEN, member.domain, f"the number {node.value} of {node.id!r} is not in the problem"
                )
            numbers[value] -= 1


def _numbers(text: str) -> Iterator[Decimal]:
    """The numbers in a text, in digits (3rd is three) or spelled out up to ninety-nine."""
    last = Decimal(0)
    for word in words(text.lower()):
        read = number(word.rstrip("sthndr")) if word[0].isdigit() else _SPELLED.get(word)
        if read is not None:
            yield read
            if last >= 20 and 0 < read < 10 and word in _SPELLED:
                yield last + read
        last = read if read is not None and word in _SPELLED else Decimal(0)


def _answers(isomer_set: IsomerSet, value: Value | None) -> Iterator[Finding]:
    stated = {member.answer for member in isomer_set.members}
    if len(stated) > 1:
        yield Finding(Reason.ANSWERS, "members", f"state different answers: {', '.join(sorted(stated))}")
    for member in isomer_set.members:
        if isomer_set.labels and member.answer not in isomer_set.labels:
            yield Finding(Reason.LABEL, member.domain, f"{member.answer!r} is none of {', '.join(isomer_set.labels)}")
        elif value is not None:
            right = says(value, member.answer)
            if isomer_set.noisy and right:
                yield Finding(Reason.NOISE, member.domain, "the set claims a wrong answer but states the right one")
            elif not isomer_set.noisy and not right:
                yield Finding(Reason.ANSWER, member.domain, f"states {member.answer!r}, the graph gives {value!r}")
