"""Changes that spoil nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from isograd.isomers import Isomer, IsomerSet, Node
from isograd.isomers.symbolic.families import FAMILIES
from isograd.isomers.symbolic.family import Statement
from mutators.tools import (
    _renamed,
    anyone,
    filled,
    joined,
    language,
    of_slot,
    other,
    preserves,
    split,
    with_all,
    with_graph,
    with_member,
)

# What spoils nothing


@preserves
def nodes_renamed_throughout(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    names = [node.id for node in isomer_set.graph.nodes]
    fresh = rng.sample(range(1000), len(names))
    name = dict(zip(names, (f"node {number}" for number in fresh), strict=True))

    def renamed(member: Isomer) -> Isomer:
        steps = tuple(step.model_copy(update={"node": name[step.node]}) for step in member.steps)
        spans = tuple(span.model_copy(update={"node": name[span.node]}) for span in member.spans)
        return member.model_copy(update={"steps": steps, "spans": spans})

    graph = _renamed(isomer_set.graph, name.__getitem__)
    return with_all(isomer_set.model_copy(update={"graph": graph}), renamed)


@preserves
def givens_listed_elsewhere(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    graph = isomer_set.graph
    order = {node.id: place for place, node in enumerate(graph.steps)}
    slots: list[list[Node]] = [[] for _ in graph.steps]
    for node in graph.nodes:
        if node.op is None:
            first = min(order[edge.target] for edge in graph.edges if edge.source == node.id)
            slots[rng.randint(0, first)].append(node)
    for slot in slots:
        rng.shuffle(slot)
    nodes = [node for slot, step in zip(slots, graph.steps, strict=True) for node in (*slot, step)]
    if tuple(nodes) == graph.nodes:
        return None  # shuffled into the order that it had
    return with_graph(isomer_set, nodes, graph.edges)


@preserves
def edges_listed_elsewhere(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    place = rng.randrange(1, len(isomer_set.graph.edges))
    edges = isomer_set.graph.edges
    return with_graph(isomer_set, isomer_set.graph.nodes, edges[place:] + edges[:place])


@preserves
def other_descriptions(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    nodes = [
        node.model_copy(update={"description": f"{node.description}, as it were"}) for node in isomer_set.graph.nodes
    ]
    return with_graph(isomer_set, nodes, isomer_set.graph.edges)


@preserves
def sentences_in_another_order(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if not FAMILIES[isomer_set.family].shuffles:
        return None
    index, member = anyone(isomer_set, rng)
    sentences, question = split(member)
    place = rng.randrange(1, len(sentences))
    head, tail = sentences[:place], sentences[place:]
    rng.shuffle(head)
    return with_member(isomer_set, index, joined(member, tail + head, question))


@preserves
def two_sentences_swapped_where_order_does_not_matter(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if not FAMILIES[isomer_set.family].shuffles:
        return None
    index, member = anyone(isomer_set, rng)
    sentences, question = split(member)
    i, j = rng.sample(range(len(sentences)), 2)
    sentences[i], sentences[j] = sentences[j], sentences[i]
    return with_member(isomer_set, index, joined(member, sentences, question))


@preserves
def a_sentence_by_another_template(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    sentences, question = split(member)
    tongue = language(isomer_set, member)
    place = rng.randrange(len(sentences))
    said = tongue.read(sentences[place])
    common = filled(isomer_set, member, rng)
    if said.slot != "distractor":
        common |= {name: cast[0] for name, cast in _cast(isomer_set, member).items() if cast and name in common}
    while True:
        sentence = tongue.say(Statement(said.slot, {**common, **said.fields}), rng)
        if sentence != sentences[place]:
            sentences[place] = sentence
            return with_member(isomer_set, index, joined(member, sentences, question))


def _cast(isomer_set: IsomerSet, member: Isomer) -> dict[str, Sequence[str]]:
    tongue = language(isomer_set, member)
    sentences, question = split(member)
    told = [s for s in map(tongue.read, sentences) if s.slot != "distractor"]
    return dict(tongue.family.understand(told, tongue.read(question))[1])


@preserves
def a_distractor_elsewhere(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    index, member = anyone(isomer_set, rng)
    found = of_slot(isomer_set, member, distractor=True)
    if not found:
        return None
    sentences, question = split(member)
    place = rng.choice(found)
    sentence = sentences.pop(place)
    sentences.insert(other(rng, range(len(sentences) + 1), place), sentence)
    return with_member(isomer_set, index, joined(member, sentences, question))
