"""From a teacher's replies to the members of isomer sets, and to sets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import BaseModel

from isograd.common.errors import UserError
from isograd.isomers.graph import structure_hash
from isograd.isomers.schema import (
    ANSWER_PREFIX,
    Isomer,
    IsomerSet,
    Node,
    Provenance,
    ReasoningGraph,
    Span,
    Step,
    Value,
    completion_text,
)
from isograd.isomers.teacher.prompts import STAGES, load_prompt
from isograd.isomers.teacher.replies import AnswerMap, StepReply, TransposeReply
from isograd.isomers.teacher.seed_formats import listed
from isograd.isomers.teacher.seeds import Seed
from isograd.isomers.verify.values import says

__all__ = ["GENERATOR", "member_from_reply", "provenance", "reply_hash", "set_from_members"]

GENERATOR: Final = "teacher"
VERSION: Final = 1


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
