"""The values of a graph, computed anew from its givens, and whether a text states one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from isograd.isomers.graph import OPERATORS
from isograd.isomers.schema import ReasoningGraph, Value
from isograd.isomers.verify.findings import Finding, Reason

__all__ = ["computed", "number", "says"]

LONGEST: Final = 1000
"""Characters of a text, or bits of a number, that an operator may make: a graph must not fill the memory."""

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,300}|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]{1,300})?")


def computed(graph: ReasoningGraph) -> tuple[Mapping[str, Value | None], list[Finding]]:
    """Every node's value, computed from the givens alone as far as the operators are known.

    Args:
        graph: a reasoning graph (:func:`isograd.isomers.graph.problems` finds nothing).

    Returns:
        Value by node id, and what was found. What an unknown operator derives is taken as it is stated, ``None``
        where it is not. When an operator refuses its arguments the values of the nodes after it are left out.
    """
    values: dict[str, Value | None] = {}
    unknown: set[str] = set()
    found: list[Finding] = []
    for node in graph.nodes:
        values[node.id] = node.value
        if node.op is None:
            continue
        where = f"graph.{node.id}"
        if node.op not in OPERATORS:
            found.append(Finding(Reason.ANSWER_UNCHECKED, where, f"nobody can execute the operator {node.op!r}"))
            unknown |= {node.id} if node.value is None else set()
            continue
        if not unknown.isdisjoint(node.args):
            found.append(Finding(Reason.ANSWER_UNCHECKED, where, "takes an argument whose value nobody knows"))
            unknown |= {node.id} if node.value is None else set()
            continue
        try:
            # A given without a value is a name.
            arguments = ["" if (value := values[argument]) is None else value for argument in node.args]
            value = OPERATORS[node.op](*arguments)
            if (len(value) if isinstance(value, str) else int(value).bit_length()) > LONGEST:
                raise ValueError("the value is too large")
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            found.append(Finding(Reason.GRAPH, where, f"{node.op!r} cannot be executed: {error}"))
            return values, found
        if node.value is not None and (node.value != value or isinstance(node.value, bool) != isinstance(value, bool)):
            found.append(Finding(Reason.VALUE, where, f"states {node.value!r}, executing gives {value!r}"))
        values[node.id] = value
    return values, found


def number(text: str) -> Decimal | None:
    """The number that a text in digits is, with or without commas between thousands; ``None`` for any other text."""
    return Decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def says(value: Value, text: str) -> bool:
    """Whether a text states a value: a truth value as a letter or a word, a number in digits, a text as it is."""
    if isinstance(value, bool):
        return text.lower() in (("t", "true", "yes") if value else ("f", "false", "no"))
    if isinstance(value, str):
        return text == value
    read = number(text)
    if read is None:
        return False
    # A decimal fraction is no binary one: compared as what JSON would have made of it.
    return float(read) == value if isinstance(value, float) else read == value
