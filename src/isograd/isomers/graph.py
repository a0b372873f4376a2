"""Reasoning graphs: validity, execution, canonical hash, exact isomorphism."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping

import networkx as nx
from networkx.algorithms.isomorphism import MultiDiGraphMatcher

from isograd.isomers.schema import NodeType, ReasoningGraph, Value

__all__ = ["OPERATORS", "execute", "isomorphic", "problems", "structure_hash", "to_networkx"]

OPERATORS: Mapping[str, Callable[..., Value]] = {
    "gain": lambda quantity, amount: quantity + amount,
    "lose": lambda quantity, amount: quantity - amount,
    "receive": lambda quantity, amount, _partner: quantity + amount,
    "send": lambda quantity, amount, _partner: quantity - amount,
    "band": lambda quantity, *bounds: ("low", "fair", "good", "high")[sum(quantity >= bound for bound in bounds)],
    "apply": lambda rule, *premises: _apply(rule, premises),
    "verdict": lambda truth, claim: "unknown" if truth == "U" else "yes" if truth == claim else "no",
    "after": lambda place, gap: place + gap,
    "before": lambda place, gap: place - gap,
    "ordinal": lambda place: ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")[
        place - 1
    ],
    "at_least": lambda number, bound: number >= bound,
    "at_most": lambda number, bound: number <= bound,
    "all_of": lambda *truths: all(truths),
    "any_of": lambda *truths: any(truths),
    "outcome": lambda met, excepted: (
        ("reviewed" if excepted else "accepted") if met else ("deferred" if excepted else "rejected")
    ),
}
"""What an executable node computes from its arguments' values, by ``op``."""


def _apply(rule: str, premises: tuple[str, ...]) -> str:
    """Apply a rule such as ``TF>T`` (if the first premise is true and the second false, then true), forwards."""
    wanted, result = rule.split(">")
    return result if tuple(wanted) == premises else "U"


def problems(graph: ReasoningGraph) -> list[str]:
    """Everything that keeps ``graph`` from being a reasoning graph, in words; empty when it is one.

    Checked: unique ids, edges between known nodes, arguments that have edges, exactly one GOAL, no cycle, every node
    reaches the GOAL, and steps listed in a topological order.
    """
    found = []
    counts = Counter(node.id for node in graph.nodes)
    found += [f"node id {name!r} is used {count} times" for name, count in counts.items() if count > 1]
    found += [
        f"edge {edge.source!r} -> {edge.target!r} names an unknown node"
        for edge in graph.edges
        if edge.source not in counts or edge.target not in counts
    ]
    goals = [node.id for node in graph.nodes if node.type is NodeType.GOAL]
    if len(goals) != 1:
        found.append(f"{len(goals)} GOAL nodes, there must be exactly one")
    if found:
        return found
    dependencies = {(edge.source, edge.target) for edge in graph.edges}
    found += [
        f"node {node.id!r} takes {argument!r} as an argument without an edge from it"
        for node in graph.nodes
        for argument in node.args
        if (argument, node.id) not in dependencies
    ]
    digraph = to_networkx(graph)
    if not nx.is_directed_acyclic_graph(digraph):
        return [*found, "the graph has a cycle: " + " -> ".join(edge[0] for edge in nx.find_cycle(digraph))]
    lost = set(counts) - nx.ancestors(digraph, goals[0]) - set(goals)
    found += [f"node {name!r} does not reach the goal" for name in sorted(lost)]
    position = {node.id: index for index, node in enumerate(graph.nodes)}
    found += [
        f"node {edge.target!r} is listed before {edge.source!r}, which it needs"
        for edge in graph.edges
        if position[edge.source] > position[edge.target]
    ]
    return found


def execute(graph: ReasoningGraph) -> dict[str, Value]:
    """Compute every derived value from the givens.

    Returns:
        Value by node id. A given without a value (a name, say) is ``""``.

    Raises:
        KeyError: a node's ``op`` is not in :data:`OPERATORS`.
    """
    values: dict[str, Value] = {}
    for node in graph.nodes:
        if node.op is None:
            values[node.id] = "" if node.value is None else node.value
        else:
            values[node.id] = OPERATORS[node.op](*(values[argument] for argument in node.args))
    return values


def to_networkx(graph: ReasoningGraph) -> nx.MultiDiGraph:
    """The graph with ``type``, ``op``, ``step`` and ``value`` on nodes and ``role`` on edges."""
    digraph = nx.MultiDiGraph()
    order = {node.id: index for index, node in enumerate(graph.steps)}
    for node in graph.nodes:
        digraph.add_node(node.id, type=node.type.value, op=node.op, step=order.get(node.id), value=node.value)
    for edge in graph.edges:
        digraph.add_edge(edge.source, edge.target, role=edge.role)
    return digraph


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _value_label(value: Value | None) -> str:
    # Equal values have equal labels: 2 and 2.0, True and 1, but not 2 and "2".
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return repr(int(value) if isinstance(value, bool) else value)


def structure_hash(graph: ReasoningGraph, *, values: bool = False) -> str:
    """Weisfeiler-Lehman hash of types, operators, step order, edge directions and roles.

    Isomorphic graphs have equal hashes whatever their node ids. The converse is not guaranteed, so
    :func:`isomorphic` is the judge. Written out here, and not taken from networkx, because the hash is stored in
    files and must never change with a library's version.

    Args:
        graph: the graph.
        values: take the nodes' values in, too; the hash in files leaves them out.

    Returns:
        24 hexadecimal digits.
    """
    order = {node.id: index for index, node in enumerate(graph.steps)}
    labels = {
        node.id: _digest(
            f"{node.type}|{node.op}|{order.get(node.id)}" + (f"|{_value_label(node.value)}" if values else "")
        )
        for node in graph.nodes
    }
    rounds = len(graph.nodes)
    for _ in range(rounds):
        incoming: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
        outgoing: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            incoming[edge.target].append(f"{edge.role}<{labels[edge.source]}")
            outgoing[edge.source].append(f"{edge.role}>{labels[edge.target]}")
        refined = {
            name: _digest("|".join([label, *sorted(incoming[name]), *sorted(outgoing[name])]))
            for name, label in labels.items()
        }
        stable = len(set(refined.values())) == len(set(labels.values()))
        labels = refined
        if stable:
            break
    return _digest("|".join(sorted(labels.values())))


def isomorphic(first: ReasoningGraph, second: ReasoningGraph, *, values: bool = True) -> bool:
    """Whether a bijection of nodes preserves type, op, step order, edge direction and role (and values).

    The structure hash filters, exact VF2 matching judges.

    Args:
        first: a graph.
        second: another.
        values: also demand that values are carried to equal values.
    """
    if (first.nodes, first.edges) == (second.nodes, second.edges):
        return True  # the identity is a bijection
    if structure_hash(first) != structure_hash(second):
        return False

    def same_node(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
        keys = ("type", "op", "step", "value") if values else ("type", "op", "step")
        return all(a[key] == b[key] for key in keys)

    def same_edges(a: Mapping[int, Mapping[str, str]], b: Mapping[int, Mapping[str, str]]) -> bool:
        return sorted(edge["role"] for edge in a.values()) == sorted(edge["role"] for edge in b.values())

    matcher = MultiDiGraphMatcher(to_networkx(first), to_networkx(second), node_match=same_node, edge_match=same_edges)
    return bool(matcher.is_isomorphic())
