"""From a teacher's abstraction to a reasoning graph that executes to the answer, or to what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from isograd.isomers.graph import OPERATORS, problems
from isograd.isomers.schema import Edge, Node, NodeType, ReasoningGraph, Value
from isograd.isomers.teacher.prompts import operators
from isograd.isomers.teacher.replies import AbstractReply, AnswerMap
from isograd.isomers.verify.values import LONGEST

__all__ = ["EXECUTABLE", "execute_nodes", "graph_from_reply"]


def _exact(value: Value) -> Fraction:
    if isinstance(value, bool | str):
        raise TypeError(f"{value!r} is no number")
    return Fraction(repr(value))  # 0.1 is a tenth, as it was written


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def _product(*factors: Value) -> Value:
    product = Fraction(1)
    for factor in factors:
        product *= _exact(factor)
    return _number(product)


_OWN: Final[Mapping[str, Callable[..., Value]]] = {
    "total": lambda *parts: _number(sum(map(_exact, parts), Fraction(0))),
    "multiply": _product,
    "divide": lambda dividend, divisor: _number(_exact(dividend) / _exact(divisor)),
    "report": lambda result: result,
}
"""What operators compute that the teacher is offered and :data:`isograd.isomers.graph.OPERATORS` does not have."""

EXECUTABLE: Final[Mapping[str, Callable[..., Value]]] = {
    **_OWN,
    **{name: OPERATORS[name] for name, one in operators().operators.items() if one.executed and name not in _OWN},
}
"""What computes each operator that can be executed."""

_NUMBERS: Final = frozenset({"gain", "lose", "after", "before", "at_least", "at_most"})
_TRUTHS: Final = frozenset({"all_of", "any_of"})


def graph_from_reply(
    reply: AbstractReply, answers: AnswerMap | None = None, gold: str | None = None
) -> ReasoningGraph | list[str]:
    """The reasoning graph that a teacher abstracted, or what is wrong with it.

    Beyond :func:`isograd.isomers.graph.problems`: an edge for each argument in the role that its operator gives it and
    no other edges, the offered operators' number of arguments, node types as the prompt asks for them, values as
    executing gives them, and a last node, the GOAL, with the answer as its value. Values that executing gives and the
    reply leaves out are filled in.

    Args:
        reply: of the stage ``abstract``.
        answers: how answers are written; the GOAL's value is brought to that form.
        gold: the right answer, where the GOAL must have it.

    Returns:
        The graph, or its problems, one line each.
    """
    answers = answers or AnswerMap()
    nodes = [Node(**node.model_dump()) for node in reply.nodes]
    edges = tuple(Edge(**edge.model_dump()) for edge in reply.edges)
    graph = ReasoningGraph(nodes=tuple(nodes), edges=edges)
    found = [*_node_problems(graph), *_edge_problems(graph)]
    found += [line for line in problems(graph) if "as an argument without an edge" not in line]
    if found:
        return list(dict.fromkeys(found))
    goal = nodes[-1]
    if isinstance(goal.value, str) and goal.op not in EXECUTABLE:
        nodes[-1] = goal.model_copy(update={"value": answers.written(goal.value)})
    values, found = execute_nodes(nodes)
    value = values.get(goal.id)
    if not found and value is None:
        found.append(f"the GOAL {goal.id!r} has no value; it is the answer")
    elif value is not None and gold is not None and not answers.same(value, gold):
        found.append(f"the GOAL {goal.id!r} is {value!r}, the problem's answer {answers.written(gold)!r}")
    if found:
        return found
    filled = tuple(node if node.op is None else node.model_copy(update={"value": values[node.id]}) for node in nodes)
    return ReasoningGraph(nodes=filled, edges=edges)


def _node_problems(graph: ReasoningGraph) -> Iterator[str]:
    known = {node.id for node in graph.nodes}
    for node in graph.nodes:
        if node.op is None:
            if node.args:
                yield f"node {node.id!r} has arguments but no operator"
            if node.type is NodeType.GOAL:
                yield f"the GOAL {node.id!r} is given; it must be derived"
            if isinstance(node.value, int | float) and abs(node.value) >= 10 ** LONGEST.bit_length():
                yield f"node {node.id!r} has a number that is too large"
            continue
        if node.type not in (NodeType.PROPOSITION, NodeType.GOAL):
            yield f"node {node.id!r} is derived and of type {node.type}; it must be PROPOSITION, the last one GOAL"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", node.op):
            yield f"node {node.id!r} has the operator {node.op!r}; write it in small letters with underscores"
        if not node.args:
            yield f"node {node.id!r} is derived by {node.op!r} from nothing"
        yield from (f"node {node.id!r} takes {name!r}, which is no node" for name in node.args if name not in known)
        offered = operators().operators.get(node.op)
        if offered and node.args and offered.roles_of(len(node.args)) is None:
            yield f"node {node.id!r}: {node.op!r} takes {', '.join(offered.roles)}, not {len(node.args)} arguments"
    if graph.nodes[-1].type is not NodeType.GOAL:
        yield f"the last node is {graph.nodes[-1].id!r}; it must be the GOAL"


def _edge_problems(graph: ReasoningGraph) -> Iterator[str]:
    left = Counter((edge.source, edge.target, edge.role) for edge in graph.edges)
    kinds, first_roles = operators().types, dict[str, str]()
    for node in graph.nodes:
        offered = operators().operators.get(node.op or "")
        roles = offered.roles_of(len(node.args)) if offered else None
        for place, name in enumerate(node.args):
            free = next((role for source, target, role in +left if (source, target) == (name, node.id)), None)
            role = roles[place] if roles else free
            if role is None or not left[name, node.id, role]:
                wanted = f" in the role {role!r}" if role else ""
                yield f"edge {name!r} -> {node.id!r}{wanted} is missing: {node.op!r} takes {name!r}"
            else:
                left[name, node.id, role] -= 1
            if roles:
                first_roles.setdefault(name, roles[place])
    for source, target, role in +left:
        yield f"edge {source!r} -> {target!r} ({role}) is of no argument in its role"
    for node in graph.nodes:
        kind = kinds.get(first_roles.get(node.id, ""))
        if node.op is None and kind is not None and node.type is not kind:
            yield f"node {node.id!r} is given as {first_roles[node.id]} and of type {node.type}; it must be {kind}"


def execute_nodes(nodes: Sequence[Node]) -> tuple[dict[str, Value | None], list[str]]:
    """Values by node id, ``None`` where nobody knows, and where executing gives another value than is stated."""
    values: dict[str, Value | None] = {}
    found = []
    for node in nodes:
        values[node.id] = node.value
        arguments = [values.get(name) for name in node.args]
        if node.op is None or node.op not in EXECUTABLE or any(argument is None for argument in arguments):
            continue
        kinds = {type(argument) for argument in arguments}
        try:
            if (node.op in _NUMBERS and not kinds <= {int, float}) or (node.op in _TRUTHS and kinds != {bool}):
                raise TypeError(f"of {', '.join(map(repr, arguments))}")
            value = EXECUTABLE[node.op](*arguments)
            if (len(value) if isinstance(value, str) else int(value).bit_length()) > LONGEST:
                raise ValueError("the value is too large")
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            found.append(f"node {node.id!r}: {node.op!r} cannot be executed: {error}")
            continue
        if node.value is not None and (node.value != value or isinstance(node.value, bool) != isinstance(value, bool)):
            found.append(f"node {node.id!r} states {node.value!r}, executing {node.op!r} gives {value!r}")
        values[node.id] = value
    return values, found
