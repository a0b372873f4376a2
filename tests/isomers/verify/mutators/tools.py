"""What the mutators are made of: registries, sound sets to begin with, and the taking apart of members."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from isograd.isomers import Edge, Isomer, IsomerSet, Node, ReasoningGraph, Span, Step, create_isomers
from isograd.isomers.graph import structure_hash
from isograd.isomers.schema import ANSWER_PREFIX
from isograd.isomers.symbolic.families import FAMILIES, grammar
from isograd.isomers.symbolic.family import Statement
from isograd.isomers.symbolic.grammar import Grammar
from isograd.isomers.verify.checks import Reason
from isograd.isomers.verify.leakage import LeakReason

Mutator = Callable[[IsomerSet, random.Random], IsomerSet | None]


@dataclass(frozen=True)
class Mutation:
    """One way to spoil a set.

    Attributes:
        change: the mutator.
        reasons: one of these must be among what is found.
        anywhere: whether it is also to be found in a set of foreign origin, of which nothing can be read back.
    """

    change: Mutator
    reasons: frozenset[Reason | LeakReason]
    anywhere: bool = False


MUTATIONS: dict[str, Mutation] = {}
"""Of a set of the built-in generator."""
FOREIGN: dict[str, Mutation] = {}
"""That give a set of foreign origin."""
PLANTED: dict[str, Mutation] = {}
"""That make an evaluation set one to train on."""
REPEATED: dict[str, Mutator] = {}
"""That make a set one which a file has already."""
PRESERVING: dict[str, Mutator] = {}
"""That spoil nothing."""


def _words(change: Mutator) -> str:
    return change.__name__.replace("_s_", "'s ").replace("_", " ")


def spoils(*reasons: Reason, anywhere: bool = False) -> Callable[[Mutator], Mutator]:
    def register(change: Mutator) -> Mutator:
        MUTATIONS[_words(change)] = Mutation(change, frozenset(reasons), anywhere)
        return change

    return register


def spoils_foreign(*reasons: Reason) -> Callable[[Mutator], Mutator]:
    def register(change: Mutator) -> Mutator:
        FOREIGN[_words(change)] = Mutation(change, frozenset(reasons))
        return change

    return register


def plants(*reasons: LeakReason) -> Callable[[Mutator], Mutator]:
    def register(change: Mutator) -> Mutator:
        PLANTED[_words(change)] = Mutation(change, frozenset(reasons))
        return change

    return register


def repeats(change: Mutator) -> Mutator:
    REPEATED[_words(change)] = change
    return change


def preserves(change: Mutator) -> Mutator:
    PRESERVING[_words(change)] = change
    return change


# Sound sets to begin with

DEPTHS: dict[str, tuple[int, ...]] = {
    "arithmetic": (1, 2, 3, 5),
    "deduction": (2, 3, 4),
    "ordering": (2, 3, 5),
    "eligibility": (1, 2, 3, 4),
}


def sound_sets(
    families: Sequence[str] = tuple(FAMILIES), *, start: int = 0, split: str = "train", each: int = 2
) -> Iterator[IsomerSet]:
    """Sets of all families without end, depths, distractors, orders, cues and noise mixed; no two alike."""
    block = start
    # One change alone leaves some splits without a problem for some answer.
    skipped = 0 if split == "train" else 1
    while True:
        for family in families:
            yield from create_isomers(
                family,
                seed=block,
                size=each,
                split=split,
                depth=DEPTHS[family][skipped:][block % (len(DEPTHS[family]) - skipped)],
                distractors=block % 3,
                shuffled=block // 2 % 2 == 1,
                cue=("none", "member", "set")[block // 2 % 3],
                noise=(0.2, 0.0, 0.5)[block % 3],
            )
        block += 1


def foreign(isomer_set: IsomerSet, *, graphs: bool = False) -> IsomerSet:
    """The same set as if somebody else had made it; with ``graphs`` each member carries its own, other ids in each."""
    source = isomer_set.provenance.model_copy(update={"generator": "someone.else"})
    members = isomer_set.members
    if graphs:
        members = tuple(
            member.model_copy(update={"graph": _renamed(isomer_set.graph, lambda name, i=index: f"{name}of{i}")})
            for index, member in enumerate(members)
        )
    return isomer_set.model_copy(update={"provenance": source, "members": members})


# Tools


def with_graph(isomer_set: IsomerSet, nodes: Sequence[Node], edges: Sequence[Edge]) -> IsomerSet:
    graph = ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))
    return isomer_set.model_copy(update={"graph": graph, "structure": _hash(graph) or isomer_set.structure})


def _hash(graph: ReasoningGraph) -> str | None:
    try:
        return structure_hash(graph)
    except KeyError:
        return None  # an edge leads nowhere


def with_node(isomer_set: IsomerSet, name: str, **update: Any) -> IsomerSet:
    nodes = [node.model_copy(update=update) if node.id == name else node for node in isomer_set.graph.nodes]
    return with_graph(isomer_set, nodes, isomer_set.graph.edges)


def with_member(isomer_set: IsomerSet, index: int, member: Isomer) -> IsomerSet:
    members = list(isomer_set.members)
    members[index] = member
    return isomer_set.model_copy(update={"members": tuple(members)})


def with_all(isomer_set: IsomerSet, change: Callable[[Isomer], Isomer]) -> IsomerSet:
    return isomer_set.model_copy(update={"members": tuple(map(change, isomer_set.members))})


def anyone(isomer_set: IsomerSet, rng: random.Random) -> tuple[int, Isomer]:
    index = rng.randrange(len(isomer_set.members))
    return index, isomer_set.members[index]


def with_steps(member: Isomer, steps: Sequence[Step], answer: str | None = None) -> Isomer:
    """Other steps, the spans moved to where each line says its value last."""
    answer = member.answer if answer is None else answer
    spans, offset = [], 0
    for step in steps:
        start = offset + max(step.text.rfind(step.value), 0)
        spans.append(Span(node=step.node, start=start, end=start + len(step.value)))
        offset += len(step.text) + 1
    start = offset + len(ANSWER_PREFIX)
    spans.append(Span(node=member.spans[-1].node, start=start, end=start + len(answer)))
    return member.model_copy(update={"steps": tuple(steps), "spans": tuple(spans), "answer": answer})


def language(isomer_set: IsomerSet, member: Isomer) -> Grammar:
    return grammar(isomer_set.family, member.domain)


def split(member: Isomer) -> tuple[list[str], str]:
    """The sentences without their cues, and the question."""
    *sentences, question = member.problem.split(". ")
    suffix = f" {member.cue}" if member.cue else ""
    return [sentence.removesuffix(suffix) for sentence in sentences], question


def joined(member: Isomer, sentences: Sequence[str], question: str) -> Isomer:
    suffix = f" {member.cue}" if member.cue else ""
    problem = " ".join([*(f"{sentence}{suffix}." for sentence in sentences), question])
    return member.model_copy(update={"problem": problem})


def statements(isomer_set: IsomerSet, member: Isomer) -> list[Statement]:
    read = language(isomer_set, member).read
    return [read(sentence) for sentence in split(member)[0]]


def of_slot(isomer_set: IsomerSet, member: Isomer, *, distractor: bool) -> list[int]:
    """Which sentences are distractors, or are not."""
    told = statements(isomer_set, member)
    return [index for index, statement in enumerate(told) if (statement.slot == "distractor") == distractor]


def retold(
    isomer_set: IsomerSet, member: Isomer, index: int, slot: str, fields: dict[str, str], rng: random.Random
) -> Isomer:
    """The member with one sentence replaced by another statement."""
    sentences, question = split(member)
    sentences[index] = language(isomer_set, member).say(Statement(slot, fields), rng)
    return joined(member, sentences, question)


def filled(isomer_set: IsomerSet, member: Isomer, rng: random.Random) -> dict[str, str]:
    """A word for every placeholder that a template can have, drawn from the member's own."""
    words = language(isomer_set, member).words
    spare = {
        name: rng.choice(words[expression[1:]]) for name, expression in _fields(isomer_set) if expression[0] == "@"
    }
    for statement in statements(isomer_set, member):
        spare |= statement.fields
    return spare


def _fields(isomer_set: IsomerSet) -> list[tuple[str, str]]:
    return list(FAMILIES[isomer_set.family].fields.items())


def other(rng: random.Random, choices: Sequence[Any], *than: Any) -> Any:
    return rng.choice([choice for choice in choices if choice not in than])


def _renamed(graph: ReasoningGraph, name: Callable[[str], str]) -> ReasoningGraph:
    return ReasoningGraph(
        nodes=tuple(
            node.model_copy(update={"id": name(node.id), "args": tuple(map(name, node.args))}) for node in graph.nodes
        ),
        edges=tuple(Edge(source=name(e.source), target=name(e.target), role=e.role) for e in graph.edges),
    )


def derived(isomer_set: IsomerSet) -> list[Node]:
    return [node for node in isomer_set.graph.steps if node is not isomer_set.graph.goal]


def opposite(value: Any, rng: random.Random) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1)) if value > 1 else value + 1
    if value in ("T", "F", "U"):
        return other(rng, "TFU", value)
    return other(rng, ("low", "fair", "good", "high", "yes", "no", "unknown", "first", "second", "TT>T"), value)
