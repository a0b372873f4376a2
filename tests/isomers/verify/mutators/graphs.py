"""The graph spoiled, of a set or of one member."""

from __future__ import annotations

import random

from isograd.isomers import Edge, Isomer, IsomerSet, NodeType
from isograd.isomers.graph import OPERATORS
from isograd.isomers.verify.checks import Reason
from mutators.tools import (
    anyone,
    derived,
    opposite,
    other,
    spoils,
    with_all,
    with_graph,
    with_member,
    with_node,
    with_steps,
)

# The graph


@spoils(Reason.GRAPH, anywhere=True)
def an_edge_dropped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    edges = list(isomer_set.graph.edges)
    del edges[rng.randrange(len(edges))]
    return with_graph(isomer_set, isomer_set.graph.nodes, edges)


@spoils(Reason.GRAPH, anywhere=True)
def a_node_dropped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    nodes = list(isomer_set.graph.nodes)
    del nodes[rng.randrange(len(nodes))]
    return with_graph(isomer_set, nodes, isomer_set.graph.edges)


@spoils(Reason.GRAPH, Reason.STRUCTURE)
def a_given_dropped_with_all_that_names_it(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    graph = isomer_set.graph
    lost = rng.choice([node.id for node in graph.nodes if node.op is None])
    nodes = [
        node.model_copy(update={"args": tuple(name for name in node.args if name != lost)})
        for node in graph.nodes
        if node.id != lost
    ]
    return with_graph(isomer_set, nodes, [edge for edge in graph.edges if edge.source != lost])


@spoils(Reason.GRAPH, anywhere=True)
def a_second_goal(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    name = rng.choice([node.id for node in isomer_set.graph.nodes if node is not isomer_set.graph.goal])
    return with_node(isomer_set, name, type=NodeType.GOAL)


@spoils(Reason.GRAPH, anywhere=True)
def a_cycle(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    back = rng.choice(isomer_set.graph.edges)
    edges = [*isomer_set.graph.edges, Edge(source=back.target, target=back.source, role=back.role)]
    return with_graph(isomer_set, isomer_set.graph.nodes, edges)


@spoils(Reason.STRUCTURE, Reason.GRAPH)
def an_operator_renamed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    node = rng.choice(isomer_set.graph.steps)
    return with_node(isomer_set, node.id, op=other(rng, [*OPERATORS, "guess"], node.op))


@spoils(Reason.STRUCTURE)
def an_operator_nobody_knows(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return with_node(isomer_set, rng.choice(isomer_set.graph.steps).id, op="guess")


@spoils(Reason.STRUCTURE)
def a_given_s_value_changed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    node = rng.choice([node for node in isomer_set.graph.nodes if node.op is None and node.value is not None])
    return with_node(isomer_set, node.id, value=opposite(node.value, rng))


@spoils(Reason.VALUE, anywhere=True)
def a_derived_value_changed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    node = rng.choice(isomer_set.graph.steps)
    return with_node(isomer_set, node.id, value=opposite(node.value, rng))


@spoils(Reason.STRUCTURE)
def a_value_left_out(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    node = rng.choice([node for node in isomer_set.graph.nodes if node.value is not None])
    return with_node(isomer_set, node.id, value=None)


@spoils(Reason.STRUCTURE)
def a_number_written_as_a_fraction(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    numbers = [node for node in isomer_set.graph.nodes if type(node.value) is int]
    if not numbers:
        return None
    node = rng.choice(numbers)
    return with_node(isomer_set, node.id, value=float(node.value))


@spoils(Reason.STRUCTURE)
def a_role_changed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    edges = list(isomer_set.graph.edges)
    index = rng.randrange(len(edges))
    edges[index] = edges[index].model_copy(update={"role": f"{edges[index].role} too"})
    return with_graph(isomer_set, isomer_set.graph.nodes, edges)


@spoils(Reason.STRUCTURE)
def an_edge_doubled(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return with_graph(isomer_set, isomer_set.graph.nodes, [*isomer_set.graph.edges, rng.choice(isomer_set.graph.edges)])


@spoils(Reason.GRAPH, anywhere=True)
def an_edge_reversed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    edges = list(isomer_set.graph.edges)
    index = rng.randrange(len(edges))
    edges[index] = edges[index].model_copy(update={"source": edges[index].target, "target": edges[index].source})
    return with_graph(isomer_set, isomer_set.graph.nodes, edges)


@spoils(Reason.STRUCTURE)
def a_node_of_another_type(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    node = rng.choice([node for node in isomer_set.graph.nodes if node is not isomer_set.graph.goal])
    return with_node(isomer_set, node.id, type=other(rng, list(NodeType), node.type, NodeType.GOAL))


@spoils(Reason.STRUCTURE, Reason.VALUE, Reason.GRAPH)
def two_arguments_swapped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """With their roles. A rule's premises and a bound's places depend on the order; sums and all-of do not."""
    found = [node for node in isomer_set.graph.steps if len(node.args) > 1]
    if not found:
        return None
    node = rng.choice(found)
    first, second = node.args[:2]
    edges = []
    roles = {edge.source: edge.role for edge in isomer_set.graph.edges if edge.target == node.id}
    for edge in isomer_set.graph.edges:
        if edge.target == node.id and edge.source in (first, second):
            edge = edge.model_copy(update={"role": roles[second if edge.source == first else first]})
        edges.append(edge)
    swapped = with_node(isomer_set, node.id, args=(second, first, *node.args[2:]))
    return with_graph(swapped, swapped.graph.nodes, edges)


@spoils(Reason.GRAPH, Reason.STEP_ORDER, anywhere=True)
def two_steps_swapped_in_the_graph(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    steps = derived(isomer_set)
    if len(steps) < 2:
        return None
    first, second = rng.sample(steps, 2)
    place = {first.id: second, second.id: first}
    return with_graph(isomer_set, [place.get(node.id, node) for node in isomer_set.graph.nodes], isomer_set.graph.edges)


@spoils(Reason.STRUCTURE)
def two_checks_swapped_everywhere(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """Graph and members alike, in a family where two checks do not need each other."""
    checks = [node.id for node in isomer_set.graph.steps if node.op in ("at_least", "at_most")]
    if len(checks) < 3:
        return None
    # The exception and the condition before it, which is joined in between: both can come in the other order.
    late, early = checks[-1], checks[-2]
    nodes = list(isomer_set.graph.nodes)
    moving = [node for node in nodes if node.id in (late, *next(n.args for n in nodes if n.id == late))]
    nodes = [node for node in nodes if node not in moving]
    place = next(index for index, node in enumerate(nodes) if node.id == early)
    order = [node.id for node in [*nodes[:place], *moving, *nodes[place:]] if node.op is not None]

    def moved(member: Isomer) -> Isomer:
        return with_steps(member, sorted(member.steps, key=lambda step: order.index(step.node)))

    return with_all(with_graph(isomer_set, [*nodes[:place], *moving, *nodes[place:]], isomer_set.graph.edges), moved)


@spoils(Reason.HASH, anywhere=True)
def another_structure_hash(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    digits = list(isomer_set.structure)
    place = rng.randrange(len(digits))
    digits[place] = other(rng, "0123456789abcdef", digits[place])
    return isomer_set.model_copy(update={"structure": "".join(digits)})


# A member's own graph


@spoils(Reason.STRUCTURE, Reason.GRAPH, anywhere=True)
def a_member_s_own_graph_spoiled(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """An edge lost, an operator, a role or a value changed in the graph that one member carries."""
    index, member = anyone(isomer_set, rng)
    change = rng.choice(
        (an_edge_dropped, a_node_dropped, an_operator_renamed, a_given_s_value_changed, a_role_changed, a_cycle,
         an_edge_doubled, a_value_left_out)
    )  # fmt: skip
    spoiled = change(isomer_set, rng)
    assert spoiled is not None
    return with_member(isomer_set, index, member.model_copy(update={"graph": spoiled.graph}))
