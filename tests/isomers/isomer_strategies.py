"""Hand-made isomer sets with every kind of value and text: any that the schema takes, and sound ones."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from isograd.isomers import Edge, Isomer, IsomerSet, Node, NodeType, Provenance, ReasoningGraph, Span, Step

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
PLAIN = st.recursive(
    VALUE, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=4
)

PROVENANCE = st.builds(
    Provenance,
    generator=TEXT,
    version=st.integers(),
    split=TEXT,
    seed=st.integers(),
    index=st.integers(),
    options=st.dictionaries(TEXT, PLAIN | st.tuples(VALUE, VALUE), max_size=2),
)

LOOSE_GRAPHS = st.builds(
    ReasoningGraph,
    nodes=st.lists(
        st.builds(
            Node,
            id=NAME,
            type=st.sampled_from(NodeType),
            description=TEXT,
            op=st.none() | NAME,
            args=st.lists(NAME, max_size=2).map(tuple),
            value=VALUE,
        ),
        max_size=3,
    ).map(tuple),
    edges=st.lists(st.builds(Edge, source=NAME, target=NAME, role=TEXT), max_size=3).map(tuple),
)
"""Any nodes and edges: what the schema takes, and mostly no reasoning graph."""


@st.composite
def sound_graphs(draw: st.DrawFn) -> ReasoningGraph:
    """A chain of nodes that ends in the goal."""
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique=True))
    nodes = []
    for index, name in enumerate(names):
        nodes.append(
            Node(
                id=name,
                type=NodeType.GOAL if name == names[-1] else NodeType.PROPOSITION,
                description=draw(TEXT),
                op=draw(NAME) if index else None,
                args=tuple(names[index - 1 : index]),
                value=draw(VALUE),
            )
        )
    edges = [Edge(source=source, target=target, role=draw(TEXT)) for source, target in pairwise(names)]
    return ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))


@st.composite
def loose_members(draw: st.DrawFn, domain: str) -> Isomer:
    steps = draw(st.lists(st.builds(Step, text=TEXT, node=NAME, value=TEXT), max_size=3))
    answer = draw(NAME)
    length = sum(len(step.text) + 1 for step in steps) + len(f"Answer: {answer}")
    borders = st.tuples(st.integers(0, length), st.integers(0, length)).filter(lambda pair: pair[0] != pair[1])
    spans = [Span(node="n", start=min(pair), end=max(pair)) for pair in draw(st.lists(borders, max_size=3))]
    return Isomer(
        domain=domain,
        problem=draw(TEXT),
        steps=tuple(steps),
        answer=answer,
        spans=tuple(spans),
        cue=draw(st.none() | TEXT),
        graph=draw(st.none() | LOOSE_GRAPHS),
    )


@st.composite
def sound_members(draw: st.DrawFn, domain: str, graph: ReasoningGraph) -> Isomer:
    """Steps that say their value last but for a cue, and the spans of the values."""
    steps, spans, offset = [], [], 0
    for node in graph.steps:
        if node.type is not NodeType.GOAL:
            before, value, after = draw(TEXT), draw(NAME), draw(st.just("") | TEXT)
            steps.append(Step(text=before + value + after, node=node.id, value=value))
            start = offset + len(before)
            spans.append(Span(node=node.id, start=start, end=start + len(value)))
            offset += len(before + value + after) + 1
    answer = draw(NAME)
    start = offset + len("Answer: ")
    spans.append(Span(node=graph.goal.id, start=start, end=start + len(answer)))
    return Isomer(
        domain=domain,
        problem=draw(TEXT),
        steps=tuple(steps),
        answer=answer,
        spans=tuple(spans),
        cue=draw(st.none() | TEXT),
        graph=draw(st.none() | sound_graphs()),
    )


@st.composite
def isomer_sets(draw: st.DrawFn, *, sound: bool) -> IsomerSet:
    """A set of one to three members; a sound one is accepted by strict reading."""
    domains = draw(st.lists(NAME, min_size=1, max_size=3, unique=True))
    graph = draw(sound_graphs() if sound else LOOSE_GRAPHS)
    return IsomerSet(
        id=draw(NAME),
        family=draw(TEXT),
        graph=graph,
        structure=draw(TEXT),
        labels=tuple(draw(st.lists(TEXT, max_size=3))),
        members=tuple(draw(sound_members(domain, graph) if sound else loose_members(domain)) for domain in domains),
        noisy=draw(st.booleans()),
        provenance=draw(PROVENANCE),
    )


def assert_same(read: list[IsomerSet], written: list[IsomerSet]) -> None:
    """Equal, and of equal types: ``1 == 1.0 == True``, so equality alone would let a value change its type."""
    assert read == written
    assert [repr(isomer_set) for isomer_set in read] == [repr(isomer_set) for isomer_set in written]
