"""One seed, from its text to a set or to the reasons why there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel

from isograd.isomers.schema import IsomerSet, ReasoningGraph
from isograd.isomers.teacher.abstraction import graph_from_reply
from isograd.isomers.teacher.assemble import provenance, set_from_members
from isograd.isomers.teacher.calls import Calls, Failed, Failure, Note
from isograd.isomers.teacher.judgment import Judgment, judge
from isograd.isomers.teacher.prompts import render
from isograd.isomers.teacher.recipe import Recipe
from isograd.isomers.teacher.replies import AbstractReply, AnswerMap
from isograd.isomers.teacher.seeds import Seed
from isograd.isomers.teacher.telling import Telling, Work, failures_of

__all__ = ["Outcome", "seed_from_json", "seed_to_json", "work_on"]

SET: str = "set"


@dataclass(frozen=True)
class Outcome:
    """What became of a seed.

    Attributes:
        isomer_set: the set; ``None`` where the seed is quarantined.
        failures: why there is none, or why it lacks a domain.
        texts: the last text that the teacher wrote, by domain; an abstraction's under the empty name.
    """

    isomer_set: IsomerSet | None
    failures: tuple[Failure, ...] = ()
    texts: dict[str, Any] | None = None

    @property
    def state(self) -> Literal["verified", "quarantined"]:
        """The seed's state in the journal."""
        return "quarantined" if self.isomer_set is None else "verified"

    @property
    def reasons(self) -> list[str]:
        """Why it is quarantined; empty where it is not."""
        return [] if self.isomer_set else list(dict.fromkeys(failure.reason for failure in self.failures))

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        told = None
        if self.isomer_set is not None:
            told = self.isomer_set.model_dump(mode="json", exclude_defaults=True)
        return {"set": told, "failures": [failure.to_json() for failure in self.failures], "texts": self.texts or {}}


def seed_to_json(seed: Seed) -> dict[str, Any]:
    """A seed as the journal keeps it."""
    return asdict(seed)


def seed_from_json(source: dict[str, Any]) -> Seed:
    """The inverse of :func:`seed_to_json`."""
    choices = source["choices"]
    return Seed(**{**source, "choices": None if choices is None else tuple(choices)})


async def work_on(seed: Seed, number: int, calls: Calls, recipe: Recipe) -> Outcome:
    """Make a seed's set: abstract, tell in all domains at once, judge what passed as one set.

    Args:
        seed: the problem.
        number: its place in the run.
        calls: to the teacher.
        recipe: what to make.

    Raises:
        UserError: whatever :meth:`Calls.ask` raises, within an exception group: the run must stop, and nothing is lost.
    """
    answers = AnswerMap.of(seed.answer, seed.choices)
    request = render("abstract", problem=seed.text, answer=answers.written(seed.answer))

    def read(reply: AbstractReply) -> tuple[AbstractReply, ReasoningGraph] | list[str]:
        graph = graph_from_reply(reply, answers, gold=seed.answer)
        return graph if isinstance(graph, list) else (reply, graph)

    found = await calls.ask(request, AbstractReply, read, seed_id=seed.id)
    if isinstance(found, Failed):
        failures = tuple(Failure("abstract", "", found.reason, line) for line in found.problems)
        await calls.note(seed.id, [Note("abstract", "", [found.reason])])
        return Outcome(None, failures, {"": found.text})
    await calls.note(seed.id, [Note("abstract", "")])
    abstraction, graph = found
    work = Work(calls, recipe, seed, answers, graph)
    tellings = [Telling(work, domain) for domain in recipe.domains]
    async with asyncio.TaskGroup() as group:
        for telling in tellings:
            group.create_task(telling.tell())
    outcome = await _joined(work, abstraction, tellings, number)
    reasons = sorted(set(outcome.reasons))
    await calls.note(seed.id, [Note(SET, "", reasons)])
    return outcome


async def _joined(work: Work, abstraction: AbstractReply, tellings: Sequence[Telling], number: int) -> Outcome:
    """The set of the tellings that passed, once they also bear one another."""
    while True:
        sound = [telling for telling in tellings if telling.member is not None]
        failures = tuple(failure for telling in tellings if telling.member is None for failure in telling.failures)
        texts = {
            telling.domain: telling.reply.model_dump(mode="json")
            for telling in tellings
            if telling.member is None and telling.reply is not None
        }
        if len(sound) < work.recipe.members_needed:
            return Outcome(None, failures, texts)
        isomer_set, judgment = _judged(work, abstraction, sound, number)
        if judgment.passed:
            return Outcome(isomer_set, failures, texts)
        # Each member has passed alone: what is left is what two of them are to one another. The later one gives way.
        late = next((telling for telling in reversed(sound) if judgment.issues(telling.domain)), None)
        if late is None:
            return Outcome(None, (*failures, *failures_of(judgment.rejections, "", SET)), texts)
        if late.repairs_left:
            await late.mend(judgment.issues(late.domain))
        else:
            concerned = [found for found in judgment.rejections if found.detail in judgment.issues(late.domain)]
            late.reject(failures_of(concerned, late.domain, SET))


def _judged(
    work: Work, abstraction: AbstractReply, sound: Iterable[Telling], number: int
) -> tuple[IsomerSet, Judgment]:
    replies: dict[str, BaseModel] = {"abstract": abstraction}
    members, evidence = [], {}
    for telling in sound:
        assert telling.member is not None
        assert telling.reply is not None
        members.append(telling.member)
        evidence[telling.domain] = telling.evidence
        replies[f"{telling.domain}.{'repair' if telling.attempt else 'transpose'}"] = telling.reply
    origin = provenance(work.seed, model=work.recipe.model, replies=replies, index=number)
    made = set_from_members(work.seed, work.graph, members, origin)
    return made, judge(made, work.seed, evidence, least_score=work.recipe.least_score)
