"""One graph told in one domain: transposed, examined by all that can be asked, and repaired while it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel

from isograd.isomers.schema import Isomer, ReasoningGraph
from isograd.isomers.teacher.abstraction import graph_from_reply
from isograd.isomers.teacher.assemble import member_from_reply, provenance, set_from_members
from isograd.isomers.teacher.calls import INVALID, TEMPERATURE, Calls, Failed, Failure, Note
from isograd.isomers.teacher.judgment import Evidence, JudgeReason, isomorphic_after_reabstraction, judge
from isograd.isomers.teacher.messages import Request
from isograd.isomers.teacher.prompts import answer_form, graph_text, issues_text, render, steps_text, transposed_text
from isograd.isomers.teacher.recipe import Recipe
from isograd.isomers.teacher.replies import AbstractReply, AnswerMap, SolveReply, TransposeReply, VerifyReply
from isograd.isomers.teacher.seeds import Seed
from isograd.isomers.verify.findings import Finding

__all__ = ["Telling", "Work", "failures_of"]

_T = TypeVar("_T", bound=BaseModel)

_STAGES: Final = {
    JudgeReason.REABSTRACTION: "abstract",
    JudgeReason.STRUCTURE: "abstract",
    JudgeReason.SOLVERS: "solve",
    JudgeReason.UNSOLVED: "solve",
    JudgeReason.NOT_COMPARED: "verify",
    JudgeReason.DEPENDENCIES: "verify",
    JudgeReason.STEPS: "verify",
    JudgeReason.CHAIN: "verify",
    JudgeReason.SCORE: "verify",
}


def _as_it_is(reply: _T) -> _T | list[str]:
    return reply


@dataclass(frozen=True)
class Work:
    """What all tellings of a seed share."""

    calls: Calls
    recipe: Recipe
    seed: Seed
    answers: AnswerMap
    graph: ReasoningGraph


def failures_of(findings: Iterable[Finding], domain: str, stage: str) -> tuple[Failure, ...]:
    """Findings as lines of the quarantine file.

    Args:
        findings: what rejects a member or a set.
        domain: the member's; empty for a set.
        stage: of those findings that no question to the teacher brought up.
    """
    return tuple(
        Failure(
            _STAGES.get(found.reason, stage) if isinstance(found.reason, JudgeReason) else stage,
            domain,
            str(found.reason),
            found.detail if found.where == domain else f"{found.where}: {found.detail}",
        )
        for found in findings
    )


class Telling:
    """The seed's graph in one domain.

    Attributes:
        domain: its name.
        member: the telling where it passed, else ``None``.
        evidence: what is known of it.
        reply: the newest text that could be read, passed or not.
        failures: why there is no member.
        repairs_left: how often it may still go back.
    """

    def __init__(self, work: Work, domain: str) -> None:
        self.domain = domain
        self.member: Isomer | None = None
        self.evidence = Evidence(0.0)
        self.reply: TransposeReply | None = None
        self.failures: tuple[Failure, ...] = ()
        self.repairs_left = work.recipe.repairs
        self._work = work
        self._issues: list[str] = []

    async def tell(self) -> None:
        """Transpose the graph, and have it repaired until it passes or may be repaired no more."""
        await self._examine(await self._transposed())
        await self._repair_while_needed()

    async def mend(self, issues: list[str]) -> None:
        """Send a telling that passed by itself back, for what it is beside the others.

        Args:
            issues: what is wrong with it, one line each; there are repairs left.
        """
        self.member, self._issues = None, issues
        await self._repair_while_needed()

    def reject(self, failures: tuple[Failure, ...]) -> None:
        """Give a telling up that passed by itself."""
        self.member, self.failures = None, failures

    @property
    def attempt(self) -> int:
        """How often it has been repaired."""
        return self._work.recipe.repairs - self.repairs_left

    async def _repair_while_needed(self) -> None:
        while self._issues and self.repairs_left and self.reply is not None:
            self.repairs_left -= 1
            await self._examine(await self._repaired(self.reply))

    async def _transposed(self) -> TransposeReply | Failed:
        work = self._work
        request = render(
            "transpose",
            graph=graph_text(work.graph),
            domain=self.domain,
            description=work.recipe.domains[self.domain],
            answer_form=answer_form(work.answers),
        )
        return await self._question(request, TransposeReply)

    async def _repaired(self, faulty: TransposeReply) -> TransposeReply | Failed:
        work = self._work
        request = render(
            "repair",
            # A text that comes back with the same faults would be mended in the same way.
            temperature=0.0 if self.attempt == 1 else TEMPERATURE,
            sample=self.attempt,
            graph=graph_text(work.graph),
            domain=self.domain,
            description=work.recipe.domains[self.domain],
            answer_form=answer_form(work.answers),
            transposed=transposed_text(faulty),
            issues=issues_text(self._issues),
        )
        return await self._question(request, TransposeReply)

    async def _question(self, request: Request, shape: type[_T]) -> _T | Failed:
        return await self._work.calls.ask(request, shape, _as_it_is, seed_id=self._work.seed.id, domain=self.domain)

    async def _examine(self, told: TransposeReply | Failed) -> None:
        """Judge a text by itself; afterwards there is a member, or failures, and issues where a repair may help."""
        stage = "repair" if self.attempt else "transpose"
        self.member, self.failures, self._issues = None, (), []
        if isinstance(told, Failed):
            await self._unusable(stage, told)
            return
        self.reply = told
        member = member_from_reply(self.domain, self._work.graph, told, self._work.answers)
        if isinstance(member, list):
            self._issues = member
            self.failures = tuple(Failure(stage, self.domain, INVALID, line) for line in member)
            await self._note(stage)
            return
        await self._judge(member, told, stage)

    async def _judge(self, member: Isomer, told: TransposeReply, stage: str) -> None:
        work = self._work
        async with asyncio.TaskGroup() as group:
            abstracting = group.create_task(self._abstract(member))
            comparing = group.create_task(self._compare(member, told))
            solving = [group.create_task(self._solve(member, number)) for number in range(work.recipe.solutions)]
        again, verification = abstracting.result(), comparing.result()
        # No graph in a reply says something of the telling; no reply at all does not, and no repair would help.
        if isinstance(again, Failed) and again.reason != INVALID:
            await self._unusable("abstract", again)
            return
        if isinstance(verification, Failed):
            await self._unusable("verify", verification)
            return
        if isinstance(again, ReasoningGraph) and isomorphic_after_reabstraction(work.graph, again):
            told_again = member_from_reply(self.domain, work.graph, told, work.answers, own=again)
            assert isinstance(told_again, Isomer)  # the graph of its own is all that changed
            member = told_again
        self.evidence = Evidence(
            told.alignment_score,
            verification,
            list(again.problems) if isinstance(again, Failed) else again,
            tuple(task.result() for task in solving),
        )
        origin = provenance(work.seed, model=work.recipe.model, replies={})
        alone = set_from_members(work.seed, work.graph, [member], origin)
        judgment = judge(alone, work.seed, {self.domain: self.evidence}, least_score=work.recipe.least_score)
        if judgment.passed:
            self.member = member
        else:
            self._issues = judgment.issues(self.domain)
            self.failures = failures_of(judgment.rejections, self.domain, "check")
        await self._note(stage, "abstract", "verify", "check", *(["solve"] if solving else []))

    async def _abstract(self, member: Isomer) -> ReasoningGraph | Failed:
        request = render("abstract", problem=member.problem, answer=member.answer)
        return await self._work.calls.ask(
            request,
            AbstractReply,
            lambda reply: graph_from_reply(reply, self._work.answers),
            seed_id=self._work.seed.id,
            domain=self.domain,
        )

    async def _compare(self, member: Isomer, told: TransposeReply) -> VerifyReply | Failed:
        request = render(
            "verify",
            graph=graph_text(self._work.graph),
            domain=self.domain,
            problem=member.problem,
            steps=steps_text(told.steps),
            answer=member.answer,
        )
        return await self._question(request, VerifyReply)

    async def _solve(self, member: Isomer, number: int) -> str:
        form = answer_form(self._work.answers)
        request = render("solve", temperature=TEMPERATURE, sample=number, problem=member.problem, answer_form=form)
        found = await self._question(request, SolveReply)
        # Who gives no answer does not agree.
        return f"no usable reply ({found.reason})" if isinstance(found, Failed) else found.answer

    async def _unusable(self, stage: str, failed: Failed) -> None:
        self.failures = tuple(Failure(stage, self.domain, failed.reason, line) for line in failed.problems)
        await self._note(stage)

    async def _note(self, *stages: str) -> None:
        """Note which stages were passed: those without a failure."""
        reasons: dict[str, list[str]] = {stage: [] for stage in stages}
        for failure in self.failures:
            reasons.setdefault(failure.stage, []).append(failure.reason)
        notes = [Note(stage, self.domain, sorted(set(found)), self.attempt) for stage, found in reasons.items()]
        await self._work.calls.note(self._work.seed.id, notes)
