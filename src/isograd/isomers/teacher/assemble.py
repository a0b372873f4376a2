"""From a teacher's replies to isomer sets, and the judgment whether a set may be kept.

Nothing that the teacher says of its own work is taken on trust. Its graph is executed, its steps are held against the
graph, and a telling is kept only if somebody who did not see the graph found it again in the telling, or solved the
problem to the same answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from pydantic import BaseModel

from isograd.common.errors import UserError
from isograd.isomers.graph import OPERATORS, isomorphic, problems, structure_hash
from isograd.isomers.schema import (
    ANSWER_PREFIX,
    Edge,
    Isomer,
    IsomerSet,
    Node,
    NodeType,
    Provenance,
    ReasoningGraph,
    Span,
    Step,
    Value,
    completion_text,
)
from isograd.isomers.teacher.prompts import STAGES, load_prompt, operators
from isograd.isomers.teacher.replies import AbstractReply, AnswerMap, StepReply, TransposeReply, VerifyReply, agreement
from isograd.isomers.teacher.seeds import Seed, listed
from isograd.isomers.verify.checks import MAX_OVERLAP, check_set, comparable
from isograd.isomers.verify.findings import Finding, Reason
from isograd.isomers.verify.values import LONGEST, says

__all__ = [
    "GENERATOR",
    "LEAST_SCORE",
    "Evidence",
    "JudgeReason",
    "Judgment",
    "graph_from_reply",
    "isomorphic_after_reabstraction",
    "judge",
    "member_from_reply",
    "provenance",
    "reply_hash",
    "set_from_members",
]

GENERATOR: Final = "teacher"
VERSION: Final = 1
LEAST_SCORE: Final = 0.85
"""The teacher's own score below which a telling fails (the IGA paper's). A score above it proves nothing."""


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

_EXECUTABLE: Final[Mapping[str, Callable[..., Value]]] = {
    **_OWN,
    **{name: OPERATORS[name] for name, one in operators().operators.items() if one.executed and name not in _OWN},
}
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
    if isinstance(goal.value, str) and goal.op not in _EXECUTABLE:
        nodes[-1] = goal.model_copy(update={"value": answers.written(goal.value)})
    values, found = _execute(nodes)
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


def _execute(nodes: Sequence[Node]) -> tuple[dict[str, Value | None], list[str]]:
    """Values by node id, ``None`` where nobody knows, and where executing gives another value than is stated."""
    values: dict[str, Value | None] = {}
    found = []
    for node in nodes:
        values[node.id] = node.value
        arguments = [values.get(name) for name in node.args]
        if node.op is None or node.op not in _EXECUTABLE or any(argument is None for argument in arguments):
            continue
        kinds = {type(argument) for argument in arguments}
        try:
            if (node.op in _NUMBERS and not kinds <= {int, float}) or (node.op in _TRUTHS and kinds != {bool}):
                raise TypeError(f"of {', '.join(map(repr, arguments))}")
            value = _EXECUTABLE[node.op](*arguments)
            if (len(value) if isinstance(value, str) else int(value).bit_length()) > LONGEST:
                raise ValueError("the value is too large")
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            found.append(f"node {node.id!r}: {node.op!r} cannot be executed: {error}")
            continue
        if node.value is not None and (node.value != value or isinstance(node.value, bool) != isinstance(value, bool)):
            found.append(f"node {node.id!r} states {node.value!r}, executing {node.op!r} gives {value!r}")
        values[node.id] = value
    return values, found


def member_from_reply(
    domain: str,
    graph: ReasoningGraph,
    reply: TransposeReply,
    answers: AnswerMap | None = None,
    own: ReasoningGraph | None = None,
) -> Isomer | list[str]:
    """A member of a set from a transposed problem, or what is wrong with it.

    Args:
        domain: the member's domain.
        graph: the set's graph.
        reply: of the stage ``transpose`` or ``repair``.
        answers: how answers are written.
        own: the graph that was abstracted again from the reply's problem.

    Returns:
        The member, its steps one for each derived node but the GOAL and its spans where the values stand; or the
        problems, one line each.
    """
    answers = answers or AnswerMap()
    goal = graph.goal
    wanted = [node for node in graph.steps if node.id != goal.id]
    found = []
    named = [step.node for step in reply.steps]
    if len(named) != len(wanted):
        found.append(f"there are {len(named)} steps, the graph has {len(wanted)}: {_ids(wanted)}")
    elif named != [node.id for node in wanted]:
        found.append(f"the steps derive {', '.join(named)}, the graph {_ids(wanted)}")
    if goal.value is None or not answers.same(goal.value, reply.answer):
        found.append(f"the answer is {reply.answer!r}, the GOAL's value {goal.value!r}")
    if len(reply.choices) != len(answers.choices):
        found.append(f"the problem has {len(reply.choices)} choices, the original {len(answers.choices)}")
    values = {node.id: node.value for node in wanted}
    places = []
    for step in reply.steps:
        found += _step_problems(step, values.get(step.node))
        places.append(_place(step))
    if found or goal.value is None:
        return found
    steps = tuple(Step(text=step.text, node=step.node, value=step.value) for step in reply.steps)
    answer = answers.written(goal.value)
    spans, start = [], 0
    for stated, place in zip(steps, places, strict=True):
        assert place is not None  # or the step would have a problem
        spans.append(Span(node=stated.node, start=start + place, end=start + place + len(stated.value)))
        start += len(stated.text) + 1
    end = len(completion_text([step.text for step in steps], answer))
    spans.append(Span(node=goal.id, start=end - len(answer), end=end))
    return Isomer(
        domain=domain,
        problem=reply.problem + listed(" ".join(choice.split()) for choice in reply.choices),
        steps=steps,
        answer=answer,
        spans=tuple(spans),
        graph=own,
    )


def _ids(nodes: Sequence[Node]) -> str:
    return ", ".join(node.id for node in nodes)


def _step_problems(step: StepReply, value: Value | None) -> Iterator[str]:
    if len(step.text.splitlines()) > 1:
        yield f"step {step.node!r} is more than one line"
    if step.text.startswith(ANSWER_PREFIX.strip()):
        yield f"step {step.node!r} begins with {ANSWER_PREFIX.strip()!r}, as the answer's line does"
    if value is not None and not says(value, step.value):
        yield f"step {step.node!r} states {step.value!r}, the graph has {value!r}"
    if _place(step) is None:
        yield f"step {step.node!r} does not say its value {step.value!r}"


def _place(step: StepReply) -> int | None:
    """Where a step's text says its value, last and whole: 6 is said neither in 16 nor in 6.5 nor in -6."""
    text, value = step.text, step.value
    pattern = rf"(?<!\w)(?<!\d[.,]){re.escape(value)}(?!\w)(?![.,]\d)"
    starts = [found.start() for found in re.finditer(pattern, text)]
    return next((at for at in reversed(starts) if not re.search(r"(?:^|[\s=(])-$", text[:at])), None)


def isomorphic_after_reabstraction(original: ReasoningGraph, again: ReasoningGraph) -> bool:
    """Whether the graph that was read again from a telling is the one that was told, values included."""
    return comparable(original) and comparable(again) and isomorphic(original, again)


def reply_hash(reply: BaseModel) -> str:
    """24 hexadecimal digits of a reply's content."""
    content = json.dumps(reply.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


def provenance(seed: Seed, *, model: str, replies: Mapping[str, BaseModel], index: int = 0) -> Provenance:
    """Where a teacher's set comes from.

    Args:
        seed: what it was made from.
        model: the teacher's name, as its provider calls it.
        replies: the replies that went into the set, under names of the caller's (``abstract``, ``law.transpose``).
        index: the set's number in its run.
    """
    options = {
        "model": model,
        "stages": {stage: load_prompt(stage).version for stage in STAGES},
        "source": seed.source,
        "seed_id": seed.id,
        "replies": {name: reply_hash(reply) for name, reply in sorted(replies.items())},
    }
    # No random numbers of ours went into it: there is no seed to draw it again from.
    return Provenance(generator=GENERATOR, version=VERSION, split=seed.split, seed=0, index=index, options=options)


def set_from_members(seed: Seed, graph: ReasoningGraph, members: Sequence[Isomer], provenance: Provenance) -> IsomerSet:
    """The set of a seed: its graph and the members that tell it.

    Raises:
        UserError: there are no members, or two of one domain.
    """
    if not members or len({member.domain for member in members}) < len(members):
        told = ", ".join(member.domain for member in members) or "none"
        raise UserError(f"{seed.id}: a set needs members of different domains; there are: {told}")
    return IsomerSet(
        id=seed.id,
        family=seed.source,
        graph=graph,
        structure=structure_hash(graph),
        labels=AnswerMap.of(seed.answer, seed.choices).labels,
        members=tuple(members),
        provenance=provenance,
    )


class JudgeReason(StrEnum):
    """Why a teacher's set is rejected, beside what :class:`isograd.isomers.verify.Reason` names."""

    EXECUTION = "execution_differs"
    GOLD = "gold_differs"
    NOT_COMPARED = "not_compared"
    UNCONFIRMED = "no_independent_check"
    REABSTRACTION = "reabstraction_invalid"
    STRUCTURE = "reabstraction_differs"
    SOLVERS = "solvers_disagree"
    UNSOLVED = "solutions_needed"
    DEPENDENCIES = "dependencies_lost"
    STEPS = "steps_differ"
    CHAIN = "chain_differs"
    SCORE = "score_low"


@dataclass(frozen=True)
class Evidence:
    """What is known of one telling, beside itself.

    Attributes:
        self_score: the alignment score that its author gave it.
        verification: the teacher's comparison of graph and telling.
        again: the graph that was abstracted again from the problem, or what is wrong with it; ``None`` if nobody did.
        solutions: the answers of independent solvers.
    """

    self_score: float
    verification: VerifyReply | None = None
    again: ReasoningGraph | list[str] | None = None
    solutions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgment:
    """The verdict of all checks.

    Attributes:
        findings: what was found; ``where`` is, or begins with, the domain of the member concerned.
    """

    findings: tuple[Finding, ...]

    @property
    def rejections(self) -> tuple[Finding, ...]:
        """The findings that reject the set."""
        return tuple(f for f in self.findings if not isinstance(f.reason, Reason) or f.reason.rejects)

    @property
    def passed(self) -> bool:
        """Whether nothing that was found rejects the set."""
        return not self.rejections

    def issues(self, domain: str) -> list[str]:
        """What rejects one member, in words: what ``repair`` is told."""
        return [f.detail for f in self.rejections if domain in re.split(r"[.,]\s*", f.where)]


def judge(
    isomer_set: IsomerSet,
    seed: Seed,
    evidence: Mapping[str, Evidence],
    *,
    least_score: float = LEAST_SCORE,
    max_overlap: float = MAX_OVERLAP,
) -> Judgment:
    """Judge a set (of one member, while the others are still to be told) by everything that is known of it.

    A member passes if its graph executes to the seed's answer, everything that :func:`check_set` checks holds, the
    teacher finds no fault with it, *and* at least one independent check confirms it: its re-abstraction is isomorphic
    to the set's graph, or a majority of solvers reaches the answer. Each of the two that was made must confirm. Where
    the graph has an operator that nobody can execute, the solvers are needed.

    Args:
        isomer_set: from :func:`set_from_members`.
        seed: what it was made from.
        evidence: by domain.
        least_score: the score that the author's and the verifier's must reach. It is never sufficient.
        max_overlap: the largest overlap of two members' content words.
    """
    graph, answers = isomer_set.graph, AnswerMap.of(seed.answer, seed.choices)
    found = check_set(isomer_set, max_overlap=max_overlap)
    found += [Finding(JudgeReason.EXECUTION, "graph", line) for line in _execute(graph.nodes)[1]]
    value = graph.goal.value
    if value is None or not answers.same(value, seed.answer):
        found.append(Finding(JudgeReason.GOLD, "graph", f"the GOAL is {value!r}, the seed's answer {seed.answer!r}"))
    executable = all(node.op in _EXECUTABLE for node in graph.steps)
    for member in isomer_set.members:
        known = evidence.get(member.domain, Evidence(0.0))
        told = [*_opinion(known, least_score), *_independent(graph, member, known, answers, executable)]
        found += [Finding(reason, member.domain, detail) for reason, detail in told]
    return Judgment(tuple(found))


def _opinion(known: Evidence, least: float) -> Iterator[tuple[JudgeReason, str]]:
    """What the teacher itself says: enough to reject, never to accept."""
    if known.self_score < least:
        yield JudgeReason.SCORE, f"its author scores it {known.self_score:.2f}, less than {least}"
    said = known.verification
    if said is None:
        yield JudgeReason.NOT_COMPARED, "the teacher did not compare it with the graph"
        return
    told = "; ".join(said.issues) or "it does not say how"
    if said.alignment_score < least:
        yield JudgeReason.SCORE, f"the verifier scores it {said.alignment_score:.2f}, less than {least}: {told}"
    if not said.dependencies_preserved:
        yield JudgeReason.DEPENDENCIES, f"dependencies of the graph are lost: {told}"
    if not said.same_steps:
        yield JudgeReason.STEPS, f"the steps are not those of the graph: {told}"
    if not said.same_chain:
        yield JudgeReason.CHAIN, f"the chain of thought of the graph does not solve it: {told}"


def _independent(
    graph: ReasoningGraph, member: Isomer, known: Evidence, answers: AnswerMap, executable: bool
) -> Iterator[tuple[JudgeReason, str]]:
    if known.again is None and not known.solutions:
        yield JudgeReason.UNCONFIRMED, "nobody abstracted it again and nobody solved it"
    if isinstance(known.again, list):
        yield JudgeReason.REABSTRACTION, f"abstracted again it is no graph: {'; '.join(known.again)}"
    elif known.again is not None and not isomorphic_after_reabstraction(graph, known.again):
        yield JudgeReason.STRUCTURE, "abstracted again it is another graph than the one it was to tell"
    if known.solutions:
        if not agreement(known.solutions, member.answer, answers.choices):
            heard = ", ".join(sorted(set(known.solutions)))[:200]
            yield JudgeReason.SOLVERS, f"most solvers do not reach {member.answer!r}: {heard}"
    elif not executable:
        yield JudgeReason.UNSOLVED, "nobody can execute the graph, so independent solutions are needed"
