"""The data model of Logical Isomer Sets: graphs, members, sets, and their files.

The definition is isograd's own (the IGA paper, arXiv 2606.05025, gives none): two problems are *logical isomers* iff
there is a bijection between the nodes of their reasoning graphs that preserves type, operator, edge direction, edge
role and step order and carries value to value. A *Logical Isomer Set* is one graph told in several domains.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer

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
    "iter_isomers",
    "load_isomers",
    "save_isomers",
    "to_rows",
]

ANSWER_PREFIX = "Answer: "
"""What stands between the last step and the answer in every completion."""

Value = bool | int | float | str


class _Frozen(BaseModel):
    # JSON has no NaN and no infinity: they would be written as null and read back as something else.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    """

    domain: Annotated[str, Field(min_length=1)]
    problem: str
    steps: tuple[Step, ...]
    answer: str
    spans: tuple[Span, ...]
    cue: str | None = None

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
        text = self.completion
        for span in self.spans:
            if span.end > len(text) or span.start >= span.end:
                raise ValueError(
                    f"span of node {span.node!r} is [{span.start}, {span.end}) in a text of {len(text)} characters"
                )
        return self


def completion_text(steps: Iterable[str], answer: str) -> str:
    """Join step texts and the answer as :attr:`Isomer.completion` does."""
    return "\n".join([*steps, f"{ANSWER_PREFIX}{answer}"])


class Provenance(_Frozen):
    """Where a set comes from: generator and version, and everything needed to make it again."""

    generator: str
    version: int
    split: str
    seed: int
    index: int
    options: dict[str, Any] = Field(default_factory=dict)


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
            raise ValueError(f"set {self.id!r} tells a domain twice: {', '.join(domains)}")
        return self

    @property
    def domains(self) -> tuple[str, ...]:
        """The members' domains, in order."""
        return tuple(member.domain for member in self.members)


def save_isomers(sets: Iterable[IsomerSet], path: str | os.PathLike[str]) -> int:
    """Write sets as JSON lines, atomically; returns how many."""
    count = 0
    with atomic_writer(path) as file:
        for isomer_set in sets:
            file.write(isomer_set.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    return count


def iter_isomers(path: str | os.PathLike[str]) -> Iterator[IsomerSet]:
    """Read sets from JSON lines, one at a time.

    Raises:
        UserError: no such file, or a line that is not an isomer set; the message names file, line, field and fault.
    """
    source = Path(path)
    if not source.is_file():
        raise UserError(f"{source}: no such file; make one with: isograd isomers make --output {source}")
    with source.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield IsomerSet.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"]) or "line"
                raise UserError(f"{source}:{number}: {place}: {first['msg']}") from None


def load_isomers(path: str | os.PathLike[str]) -> list[IsomerSet]:
    """Read all sets of a JSON-lines file; raises as :func:`iter_isomers`."""
    return list(iter_isomers(path))


def to_rows(sets: Iterable[IsomerSet]) -> list[dict[str, Any]]:
    """Flatten sets to training rows, members of a set side by side.

    Returns:
        One dict a member: ``prompt``, ``completion``, ``domain``, ``set_id``, and ``spans``: a list of
        ``[start, end]`` in the completion, aligned over the members of a set, the answer's last.
    """
    return [
        {
            "prompt": member.prompt,
            "completion": member.completion,
            "domain": member.domain,
            "set_id": isomer_set.id,
            "spans": [[span.start, span.end] for span in member.spans],
        }
        for isomer_set in sets
        for member in isomer_set.members
    ]
