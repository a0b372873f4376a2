"""The graph's drawing, and texts cut into what can be seen."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.isomers import FAMILIES, create_isomers
from isograd.isomers.graph import problems
from isograd.isomers.review.layout import MOST_NODES, Drawing, draw
from isograd.isomers.review.pieces import Piece, clean, pieces, shorten
from isograd.isomers.schema import Edge, Node, NodeType, ReasoningGraph


@st.composite
def graphs(draw_from: st.DrawFn) -> ReasoningGraph:
    """Valid graphs of any shape: every node but the last feeds at least one later node."""
    count = draw_from(st.integers(2, 14))
    pairs = {(place, draw_from(st.integers(place + 1, count - 1))) for place in range(count - 1)}
    pairs |= draw_from(st.sets(st.sampled_from(list(combinations(range(count), 2))), max_size=10))
    inside = {target for _, target in pairs}
    nodes = tuple(
        Node(
            id=f"n{place}",
            type=NodeType.GOAL if place == count - 1 else NodeType.PROPOSITION,
            op="op" if place in inside else None,
        )
        for place in range(count)
    )
    graph = ReasoningGraph(
        nodes=nodes, edges=tuple(Edge(source=f"n{a}", target=f"n{b}", role="r") for a, b in sorted(pairs))
    )
    assert not problems(graph)
    return graph


def check(graph: ReasoningGraph, drawing: Drawing) -> None:
    boxes = {box.node: box for box in drawing.boxes}
    assert list(boxes) == [node.id for node in graph.nodes]
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + drawing.box_width <= drawing.width
        assert box.y + drawing.box_height <= drawing.height
    for one, other in combinations(drawing.boxes, 2):
        apart = abs(one.x - other.x) >= drawing.box_width or abs(one.y - other.y) >= drawing.box_height
        assert apart, (one, other)
    assert [(line.source, line.target) for line in drawing.lines] == [(e.source, e.target) for e in graph.edges]
    for line in drawing.lines:
        source, target = boxes[line.source], boxes[line.target]
        assert source.x + drawing.box_width < target.x
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", line.path)]
        assert numbers[0] == pytest.approx(source.x + drawing.box_width, abs=0.1)
        assert numbers[1] == pytest.approx(source.y + drawing.box_height / 2, abs=0.1)
        assert numbers[-2] == pytest.approx(target.x, abs=6)
        assert numbers[-1] == pytest.approx(target.y + drawing.box_height / 2, abs=0.1)
        # Where an edge passes a layer, it runs level; there it meets no node.
        for left, level in level_runs(line.path):
            for box in drawing.boxes:
                if box.x == pytest.approx(left, abs=0.1):
                    assert not box.y < level < box.y + drawing.box_height


def level_runs(path: str) -> list[tuple[float, float]]:
    """Where a path's level parts begin."""
    parts = path.split(" H")
    ends = [re.findall(r"-?[\d.]+", part) for part in parts[:-1]]
    return [(float(end[-2]), float(end[-1])) for end in ends]


@given(graphs())
def test_nodes_stand_apart_and_edges_go_from_left_to_right_between_them(graph: ReasoningGraph) -> None:
    drawing = draw(graph)
    assert drawing is not None
    check(graph, drawing)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_drawn(family: str) -> None:
    for depth in (2, 5):
        graph = create_isomers(family, size=1, seed=2, depth=depth)[0].graph
        drawing = draw(graph)
        assert drawing is not None
        check(graph, drawing)
        assert {box.type for box in drawing.boxes} == set(drawing.types)
        assert drawing.height < 600


def test_equal_graphs_have_equal_drawings_and_values_are_told() -> None:
    graph = create_isomers("eligibility", size=1, seed=1)[0].graph
    assert draw(graph) == draw(graph)
    drawing = draw(graph)
    assert drawing is not None
    told = {box.node: box.words for box in drawing.boxes}
    for node in graph.nodes:
        assert node.description in told[node.id]
        assert f"value {str(node.value).lower() if isinstance(node.value, bool) else node.value}" in told[node.id]


def test_a_graph_that_is_too_large_is_not_drawn() -> None:
    names = [f"n{number}" for number in range(MOST_NODES + 1)]
    nodes = tuple(
        Node(id=name, type=NodeType.GOAL if name == names[-1] else NodeType.ENTITY, op="x" if place else None)
        for place, name in enumerate(names)
    )
    edges = tuple(Edge(source=one, target=other, role="r") for one, other in pairwise(names))
    assert draw(ReasoningGraph(nodes=nodes, edges=edges)) is None


def test_pieces_mark_values_cues_and_what_cannot_be_seen() -> None:
    assert pieces("9 - 3 = 6 upstairs", value=(8, 9), cue="upstairs") == [
        Piece("text", "9 - 3 = "),
        Piece("value", "6"),
        Piece("text", " "),
        Piece("cue", "upstairs"),
    ]
    assert pieces("cues cue", cue="cue") == [Piece("text", "cues "), Piece("cue", "cue")]
    assert pieces("a\x00\x00\u202eb\tc\nd") == [
        Piece("text", "a"),
        Piece("unseen", "U+0000 ×2"),
        Piece("unseen", "U+202E"),
        Piece("text", "b\tc\nd"),
    ]
    assert pieces("") == []


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9), st.integers(0, 9))
def test_pieces_lose_nothing_that_can_be_seen(text: str, start: int, end: int) -> None:
    value = (start, end) if start < end <= len(text) else None
    parts = pieces(text, value=value)
    assert all(part.text for part in parts)
    seen = "".join(part.text for part in parts if part.kind != "unseen")
    assert seen == re.sub(clean_pattern(), "", text)


def clean_pattern() -> str:
    """Characters whose only trace in :func:`clean` is the mark of a lost one, or nothing."""
    hidden = [chr(code) for code in (*range(0x3000), 0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB, *range(0xE0000, 0xE0080))]
    found = [char for char in hidden if clean(f"a{char}b") == "a\ufffdb"]
    return "[" + "".join(map(re.escape, found)) + "]"


def test_one_line_for_titles() -> None:
    assert clean(" a\n b\x07\u202e ") == "a b\ufffd\ufffd"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
