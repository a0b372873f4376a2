"""The judgment whether a set of a teacher's may be kept.

Nothing that the teacher says of its own work is taken on trust. Its graph is executed, its steps are held against the
graph, and a telling is kept only if somebody who did not see the graph found it again in the telling, or solved the
problem to the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from isograd.isomers.graph import isomorphic
from isograd.isomers.schema import Isomer, IsomerSet, ReasoningGraph
from isograd.isomers.teacher.abstraction import EXECUTABLE, execute_nodes
from isograd.isomers.teacher.replies import AnswerMap, VerifyReply, agreement
from isograd.isomers.teacher.seeds import Seed
from isograd.isomers.verify.checks import MAX_OVERLAP, check_set, comparable
from isograd.isomers.verify.findings import Finding, Reason

__all__ = ["LEAST_SCORE", "Evidence", "JudgeReason", "Judgment", "isomorphic_after_reabstraction", "judge"]

LEAST_SCORE: Final = 0.85
"""The teacher's own score below which a telling fails (the IGA paper's). A score above it proves nothing."""


def isomorphic_after_reabstraction(original: ReasoningGraph, again: ReasoningGraph) -> bool:
    """Whether the graph that was read again from a telling is the one that was told, values included."""
    return comparable(original) and comparable(again) and isomorphic(original, again)


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
    found += [Finding(JudgeReason.EXECUTION, "graph", line) for line in execute_nodes(graph.nodes)[1]]
    value = graph.goal.value
    if value is None or not answers.same(value, seed.answer):
        found.append(Finding(JudgeReason.GOLD, "graph", f"the GOAL is {value!r}, the seed's answer {seed.answer!r}"))
    executable = all(node.op in EXECUTABLE for node in graph.steps)
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
