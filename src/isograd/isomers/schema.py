"""The data model of Logical Isomer Sets: graphs, members, sets.

The definition is isograd's own (the IGA paper, arXiv 2606.05025, gives none): two problems are *logical isomers* iff
there is a bijection between the nodes of their reasoning graphs that preserves type, operator, edge direction, edge
role and step order and carries value to value. A *Logical Isomer Set* is one graph told in several domains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "Edge",
    "Isomer",
    "IsomerSet",
    "Node",
    "NodeType",
    "Provenance",
    "ReasoningGraph",
    "Span",
    "Step",
]

ANSWER_PREFIX = "Answer: "
"""What stands between the last step and the answer in every completion."""

Value = bool | int | float | str


class _Frozen(BaseModel):
    # JSON has no NaN and no infinity: they would be written as null and read back as something else.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _error(reason: str, *place: str | int) -> PydanticCustomError:
    """A fault of a whole model, with the place within it that a reader of files is to name."""
    return PydanticCustomError("isomers", "{reason}", {"reason": reason, "place": place})


class NodeType(StrEnum):
    """The five node types of the IGA paper's abstraction step."""

    ENTITY = "ENTITY"
    RELATION = "RELATION"
    CONSTRAINT = "CONSTRAINT"
    PROPOSITION = "PROPOSITION"
    GOAL = "GOAL"


class Node(_Frozen):
    """A node of a reasoning graph.

    Attributes:
        id: unique within its graph.
        type: one of :class:`NodeType`.
        description: domain-neutral words.
        op: the operator that derives the value from the arguments; ``None`` for a given.
        args: node ids, in the operator's order.
        value: the node's value where the graph is executable, else ``None``.
    """

    id: Annotated[str, Field(min_length=1)]
    type: NodeType
    description: str = ""
    op: str | None = None
    args: tuple[str, ...] = ()
    value: Value | None = None


class Edge(_Frozen):
    """A dependency: ``target`` needs ``source`` in the given role."""

    source: str
    target: str
    role: str


class ReasoningGraph(_Frozen):
    """A labelled DAG with exactly one GOAL; see :func:`isograd.isomers.graph.problems` for its rules.

    The *steps* are the derived nodes (those with an ``op``) in the order in which they are listed, which must be a
    topological order.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def steps(self) -> tuple[Node, ...]:
        """Derived nodes in step order, the GOAL included."""
        return tuple(node for node in self.nodes if node.op is not None)

    @property
    def goal(self) -> Node:
        """The one GOAL node."""
        return next(node for node in self.nodes if node.type is NodeType.GOAL)


class Span(_Frozen):
    """Characters ``[start, end)`` of a member's completion that state the value of ``node``."""

    node: str
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(gt=0)]


class Step(_Frozen):
    """One line of the chain of thought: its text, the node it derives, and the value as written."""

    text: str
    node: str
    value: str


class Isomer(_Frozen):
    """One member of a set: the graph told in one domain.

    Attributes:
        domain: the domain's name.
        problem: the question as the student sees it.
        steps: the chain of thought, one step for each derived node but the GOAL.
        answer: the stated answer (label noise included).
        spans: where the completion states each step's value and, last, the answer. Aligned over the members of a
            set: equal positions in the tuples are equal logical places.
        cue: the shortcut word planted in this rendering, if any.
        graph: the member's own graph, as a reader abstracted it again from this rendering; ``None`` where nobody has.
    """

    domain: Annotated[str, Field(min_length=1)]
    problem: str
    steps: tuple[Step, ...]
    answer: str
    spans: tuple[Span, ...]
    cue: str | None = None
    graph: ReasoningGraph | None = None

    @property
    def prompt(self) -> str:
        """The problem and a newline: what is given to the student."""
        return f"{self.problem}\n"

    @property
    def completion(self) -> str:
        """The steps, one a line, and ``Answer: ...``: what the student is to write."""
        return completion_text([step.text for step in self.steps], self.answer)

    @model_validator(mode="after")
    def _spans_hold(self) -> Isomer:
        length = len(self.completion)
        for index, span in enumerate(self.spans):
            if span.end > length or span.start >= span.end:
                raise _error(
                    f"span of node {span.node!r} is [{span.start}, {span.end}) in a text of {length} characters",
                    "spans",
                    index,
                )
        return self


def completion_text(steps: Iterable[str], answer: str) -> str:
    """Join step texts and the answer as :attr:`Isomer.completion` does."""
    return "\n".join([*steps, f"{ANSWER_PREFIX}{answer}"])


def _plain(value: Any) -> Any:
    """The value as JSON gives it back; whatever JSON would lose or change is refused."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, str):
        # A lone surrogate cannot be written as UTF-8.
        value.encode()
    elif value is not None and not isinstance(value, bool | int | float):
        raise ValueError(f"a {type(value).__name__} is nothing that JSON can hold")
    return value


class Provenance(_Frozen):
    """Where a set comes from: generator and version, and everything needed to make it again.

    ``options`` is what JSON can hold; tuples become lists, as they do in a file.
    """

    generator: str
    version: int
    split: str
    seed: int
    index: int
    options: Annotated[dict[str, Any], AfterValidator(_plain)] = Field(default_factory=dict)


class IsomerSet(_Frozen):
    """One reasoning graph told in several domains.

    Attributes:
        id: unique within a file.
        family: the kind of logic.
        graph: the shared graph; where executable, the GOAL's value is the *true* answer.
        structure: canonical structure hash (equal for isomorphic graphs whatever the node ids; values left out).
        labels: the possible answers, in a fixed order.
        members: one for each domain.
        noisy: whether label noise replaced the stated answer of all members.
        provenance: generator, versions, seed.
    """

    id: Annotated[str, Field(min_length=1)]
    family: str
    graph: ReasoningGraph
    structure: str
    labels: tuple[str, ...]
    members: Annotated[tuple[Isomer, ...], Field(min_length=1)]
    noisy: bool = False
    provenance: Provenance

    @model_validator(mode="after")
    def _one_member_a_domain(self) -> IsomerSet:
        domains = [member.domain for member in self.members]
        if len(set(domains)) != len(domains):
            raise _error(f"set {self.id!r} tells a domain twice: {', '.join(domains)}", "members")
        return self

    @property
    def domains(self) -> tuple[str, ...]:
        """The members' domains, in order."""
        return tuple(member.domain for member in self.members)
