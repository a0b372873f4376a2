"""Reasoning graphs: rules, execution, hash and isomorphism."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from symbolic_cases import NAMES, drawn

from isograd.isomers import FAMILIES, Edge, Node, NodeType, ReasoningGraph, create_isomers
from isograd.isomers.graph import OPERATORS, execute, isomorphic, problems, structure_hash
from isograd.isomers.schema import Value
from isograd.isomers.symbolic.arithmetic import OPERATIONS, Arithmetic, Chain
from isograd.isomers.symbolic.deduction import Rule, Rules
from isograd.isomers.symbolic.eligibility import Case, Condition
from isograd.isomers.symbolic.ordering import Line


def chains(min_depth: int = 1, max_depth: int = 6) -> st.SearchStrategy[Chain]:
    changes = st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(2, 9)), min_size=min_depth, max_size=max_depth
    )
    return st.builds(lambda start, changes: Chain(start, tuple(changes)), st.integers(2, 18), changes)


def graphs() -> st.SearchStrategy[ReasoningGraph]:
    """Of every family; and of chains that leave the range that problems keep to."""
    return drawn(deepest=5).map(lambda case: case[0].graph(case[3])) | chains().map(Arithmetic().graph)


def small() -> ReasoningGraph:
    """7 + 5 - 3 is fair."""
    return Arithmetic().graph(Chain(7, (("gain", 5), ("lose", 3))))


def replace_node(graph: ReasoningGraph, name: str, **changes: object) -> ReasoningGraph:
    nodes = tuple(node.model_copy(update=changes) if node.id == name else node for node in graph.nodes)
    return graph.model_copy(update={"nodes": nodes})


def with_edges(graph: ReasoningGraph, *edges: Edge, without: tuple[str, str] | None = None) -> ReasoningGraph:
    kept = tuple(edge for edge in graph.edges if (edge.source, edge.target) != without)
    return graph.model_copy(update={"edges": (*kept, *edges)})


def renamed(graph: ReasoningGraph, names: dict[str, str]) -> ReasoningGraph:
    return ReasoningGraph(
        nodes=tuple(
            node.model_copy(update={"id": names[node.id], "args": tuple(names[name] for name in node.args)})
            for node in graph.nodes
        ),
        edges=tuple(Edge(source=names[edge.source], target=names[edge.target], role=edge.role) for edge in graph.edges),
    )


def scrambled(graph: ReasoningGraph, rng: random.Random) -> ReasoningGraph:
    """The same graph with fresh names, its edges and givens in another order and its steps in the same order."""
    fresh = rng.sample(range(1000), len(graph.nodes))
    graph = renamed(graph, {node.id: f"x{number}" for node, number in zip(graph.nodes, fresh, strict=True)})
    nodes = [node for node in graph.nodes if node.op is None]
    rng.shuffle(nodes)
    position = 0
    for step in graph.steps:
        position = rng.randint(position, len(nodes))
        nodes.insert(position, step)
        position += 1
    return ReasoningGraph(nodes=tuple(nodes), edges=tuple(rng.sample(graph.edges, len(graph.edges))))


@given(graph=graphs())
def test_generated_graphs_are_sound_and_execute_to_their_values(graph: ReasoningGraph) -> None:
    assert problems(graph) == []
    stored = {node.id: node.value for node in graph.nodes}
    executed = execute(graph)
    assert executed == {name: "" if value is None else value for name, value in stored.items()}
    assert isinstance(executed["goal"], str)


OPERATIONS_BY_HAND: list[tuple[str, tuple[Value, ...], Value]] = [
    ("gain", (7, 5), 12),
    ("lose", (7, 5), 2),
    ("receive", (7, 5, ""), 12),
    ("send", (7, 5, "Ann"), 2),
    *(("band", (number, 5, 10, 15), band) for number, band in ((4, "low"), (5, "fair"), (9, "fair"), (10, "good"))),
    *(("band", (number, 5, 10, 15), band) for number, band in ((14, "good"), (15, "high"), (19, "high"), (1, "low"))),
    ("apply", ("T>T", "T"), "T"),
    ("apply", ("T>F", "T"), "F"),
    ("apply", ("F>F", "F"), "F"),
    ("apply", ("T>F", "F"), "U"),
    ("apply", ("F>T", "U"), "U"),
    ("apply", ("TF>T", "T", "F"), "T"),
    ("apply", ("TF>T", "F", "T"), "U"),
    ("apply", ("TT>F", "T", "T"), "F"),
    ("apply", ("TT>F", "U", "T"), "U"),
    ("verdict", ("T", "T"), "yes"),
    ("verdict", ("F", "F"), "yes"),
    ("verdict", ("T", "F"), "no"),
    ("verdict", ("F", "T"), "no"),
    ("verdict", ("U", "T"), "unknown"),
    ("verdict", ("U", "F"), "unknown"),
    ("after", (3, 4), 7),
    ("before", (7, 4), 3),
    ("ordinal", (1,), "first"),
    ("ordinal", (5,), "fifth"),
    ("ordinal", (9,), "ninth"),
    ("at_least", (10, 10), True),
    ("at_least", (9, 10), False),
    ("at_most", (10, 10), True),
    ("at_most", (11, 10), False),
    ("all_of", (True, True), True),
    ("all_of", (True, False), False),
    ("any_of", (False, True), True),
    ("any_of", (False, False), False),
    ("outcome", (True, False), "accepted"),
    ("outcome", (True, True), "reviewed"),
    ("outcome", (False, True), "deferred"),
    ("outcome", (False, False), "rejected"),
]


@pytest.mark.parametrize(("op", "arguments", "value"), OPERATIONS_BY_HAND)
def test_operators(op: str, arguments: tuple[Value, ...], value: Value) -> None:
    result = OPERATORS[op](*arguments)
    assert result == value
    assert type(result) is type(value)


def test_every_operator_is_computed_by_hand() -> None:
    assert {op for op, _, _ in OPERATIONS_BY_HAND} == set(OPERATORS), "a new operator needs rows"


def test_execute_computes_and_does_not_copy() -> None:
    assert execute(small())["goal"] == "fair"
    graph = replace_node(small(), "a1", value=1)
    assert execute(graph)["q1"] == 8
    assert execute(graph)["q2"] == 5
    assert execute(graph)["goal"] == "fair"
    assert execute(replace_node(small(), "a2", value=9))["goal"] == "low"
    with pytest.raises(KeyError, match="cube"):
        execute(replace_node(graph, "q1", op="cube"))


def duplicated(graph: ReasoningGraph) -> ReasoningGraph:
    return graph.model_copy(update={"nodes": (*graph.nodes, graph.nodes[0])})


def moved_to_front(graph: ReasoningGraph) -> ReasoningGraph:
    last = [node for node in graph.nodes if node.id == "q2"]
    return graph.model_copy(update={"nodes": (*last, *(node for node in graph.nodes if node.id != "q2"))})


LONER = Node(id="loner", type=NodeType.ENTITY)

FAULTS: list[tuple[Callable[[ReasoningGraph], ReasoningGraph], list[str]]] = [
    (duplicated, ["node id 'q0' is used 2 times"]),
    (
        lambda graph: with_edges(graph, Edge(source="ghost", target="q1", role="amount")),
        ["edge 'ghost' -> 'q1' names an unknown node"],
    ),
    (
        lambda graph: with_edges(graph, Edge(source="q0", target="ghost", role="amount")),
        ["edge 'q0' -> 'ghost' names an unknown node"],
    ),
    (
        lambda graph: replace_node(graph, "goal", type=NodeType.PROPOSITION),
        ["0 GOAL nodes, there must be exactly one"],
    ),
    (lambda graph: replace_node(graph, "q2", type=NodeType.GOAL), ["2 GOAL nodes, there must be exactly one"]),
    (
        lambda graph: with_edges(graph, Edge(source="q2", target="q1", role="amount")),
        ["the graph has a cycle: q1 -> q2"],
    ),
    (lambda graph: with_edges(graph, Edge(source="q1", target="q1", role="x")), ["the graph has a cycle: q1"]),
    (
        lambda graph: graph.model_copy(update={"nodes": (*graph.nodes, LONER)}),
        ["node 'loner' does not reach the goal"],
    ),
    (
        lambda graph: replace_node(graph, "q2", args=("q1", "t5")),
        ["node 'q2' takes 't5' as an argument without an edge from it"],
    ),
    (
        lambda graph: with_edges(graph, without=("a1", "q1")),
        ["node 'q1' takes 'a1' as an argument without an edge from it", "node 'a1' does not reach the goal"],
    ),
    (
        moved_to_front,
        ["node 'q2' is listed before 'q1', which it needs", "node 'q2' is listed before 'a2', which it needs"],
    ),
]


@pytest.mark.parametrize(("change", "found"), FAULTS, ids=[found[0] for _, found in FAULTS])
def test_problems_names_each_fault(change: Callable[[ReasoningGraph], ReasoningGraph], found: list[str]) -> None:
    assert problems(small()) == []
    assert problems(change(small())) == found


def test_an_empty_graph_is_no_reasoning_graph() -> None:
    assert problems(ReasoningGraph(nodes=(), edges=())) == ["0 GOAL nodes, there must be exactly one"]


@given(graph=graphs(), seed=st.integers(0, 10**6))
def test_hash_and_isomorphism_ignore_names_and_listing(graph: ReasoningGraph, seed: int) -> None:
    other = scrambled(graph, random.Random(seed))
    assert structure_hash(other) == structure_hash(graph)
    assert isomorphic(graph, other)
    assert isomorphic(other, graph)


@given(graph=graphs(), number=st.integers(0, 100))
def test_a_dropped_edge_changes_the_hash(graph: ReasoningGraph, number: int) -> None:
    gone = number % len(graph.edges)
    less = graph.model_copy(update={"edges": graph.edges[:gone] + graph.edges[gone + 1 :]})
    assert structure_hash(less) != structure_hash(graph)
    assert not isomorphic(less, graph, values=False)


@given(graph=graphs(), number=st.integers(0, 100), data=st.data())
def test_a_changed_edge_changes_the_hash(graph: ReasoningGraph, number: int, data: st.DataObject) -> None:
    place = number % len(graph.edges)
    edge = graph.edges[place]
    change = data.draw(
        st.sampled_from([{"role": "other"}, {"source": edge.target, "target": edge.source}]), label="change"
    )
    edges = (*graph.edges[:place], edge.model_copy(update=change), *graph.edges[place + 1 :])
    other = graph.model_copy(update={"edges": edges})
    assert structure_hash(other) != structure_hash(graph)
    assert not isomorphic(other, graph, values=False)


@given(graph=graphs(), number=st.integers(0, 100), data=st.data())
def test_another_type_or_operator_changes_the_hash(graph: ReasoningGraph, number: int, data: st.DataObject) -> None:
    node = graph.nodes[number % len(graph.nodes)]
    kinds = st.sampled_from([kind for kind in NodeType if kind is not node.type]).map(lambda kind: {"type": kind})
    operators = st.sampled_from([op for op in OPERATORS if op != node.op]).map(lambda op: {"op": op})
    other = replace_node(graph, node.id, **data.draw(kinds | operators, label="change"))
    assert structure_hash(other) != structure_hash(graph)
    assert not isomorphic(other, graph, values=False)


@given(graph=graphs(), number=st.integers(0, 100))
def test_two_swapped_steps_change_the_hash(graph: ReasoningGraph, number: int) -> None:
    steps = [index for index, node in enumerate(graph.nodes) if node.op is not None]
    place = number % (len(steps) - 1)
    first, second = steps[place], steps[place + 1]
    nodes = list(graph.nodes)
    nodes[first], nodes[second] = nodes[second], nodes[first]
    other = graph.model_copy(update={"nodes": tuple(nodes)})
    assert structure_hash(other) != structure_hash(graph)
    assert not isomorphic(other, graph, values=False)


@given(graph=graphs(), number=st.integers(0, 100))
def test_values_count_for_isomorphism_alone(graph: ReasoningGraph, number: int) -> None:
    node = graph.nodes[number % len(graph.nodes)]
    other = replace_node(graph, node.id, value="something else")
    assert structure_hash(other) == structure_hash(graph)
    assert isomorphic(graph, other, values=False)
    assert not isomorphic(graph, other)


@given(first=chains(max_depth=3), second=chains(max_depth=3))
def test_chains_are_isomorphic_iff_their_operations_are_equal(first: Chain, second: Chain) -> None:
    graphs_ = [Arithmetic().graph(chain) for chain in (first, second)]
    same_operations = [op for op, _ in first.changes] == [op for op, _ in second.changes]
    assert isomorphic(*graphs_, values=False) == same_operations
    assert (structure_hash(graphs_[0]) == structure_hash(graphs_[1])) == same_operations
    assert isomorphic(*graphs_) == (first == second)


def test_vf2_judges_where_the_hash_cannot_tell() -> None:
    """Six nodes in one ring or in two rings of three: the Weisfeiler-Lehman hash is blind to that."""

    def rings(*sizes: int) -> ReasoningGraph:
        nodes, edges = [], []
        for ring, size in enumerate(sizes):
            nodes += [Node(id=f"{ring}.{i}", type=NodeType.ENTITY) for i in range(size)]
            edges += [Edge(source=f"{ring}.{i}", target=f"{ring}.{(i + 1) % size}", role="r") for i in range(size)]
        return ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))

    assert structure_hash(rings(6)) == structure_hash(rings(3, 3))
    assert not isomorphic(rings(6), rings(3, 3))
    assert isomorphic(rings(3, 3), rings(3, 3))


def test_parallel_edges_and_their_roles_count() -> None:
    nodes = (Node(id="a", type=NodeType.ENTITY), Node(id="g", type=NodeType.GOAL, op="gain", args=("a", "a")))

    def graph(*roles: str) -> ReasoningGraph:
        return ReasoningGraph(nodes=nodes, edges=tuple(Edge(source="a", target="g", role=role) for role in roles))

    assert isomorphic(graph("x", "y"), graph("y", "x"))
    assert not isomorphic(graph("x", "y"), graph("x", "x"))
    assert not isomorphic(graph("x", "x"), graph("x"))


PINNED = [
    (Chain(7, (("gain", 5), ("lose", 3))), "724c507e009c5a1dab1cd289"),
    (Chain(2, (("receive", 9),)), "fcfd093dc03b443d66f1aca0"),
    (
        Rules(((0, True), (2, False)), (Rule(((0, True),), (1, True)), Rule(((1, True), (2, True)), (3, True))), True),
        "1b54d4c53d109abf287c6a0c",
    ),
    (Line((4, 9, 5)), "fe9863a66c463cba717da82c"),
    (
        Case(Condition(True, 5, 5), (("also", Condition(False, 9, 9)),), Condition(True, 5, 4)),
        "5c0fabff5d1f9116143150f9",
    ),
]


@pytest.mark.parametrize(("problem", "digest"), PINNED)
def test_pinned_hashes(problem: Chain | Rules | Line | Case, digest: str) -> None:
    """They are stored in files: a change here makes every stored set unreadable as a duplicate of itself."""
    kinds = {Chain: "arithmetic", Rules: "deduction", Line: "ordering", Case: "eligibility"}
    assert structure_hash(FAMILIES[kinds[type(problem)]].graph(problem)) == digest


def test_pinned_hash_of_nothing() -> None:
    assert structure_hash(ReasoningGraph(nodes=(), edges=())) == "b8e1dda3ac0aa3820ad2990b"


@pytest.mark.parametrize("name", NAMES)
def test_sets_carry_the_hash_of_their_graph(name: str) -> None:
    for isomer_set in create_isomers(name, seed=5, size=10):
        assert isomer_set.structure == structure_hash(isomer_set.graph)
