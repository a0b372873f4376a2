"""The eligibility family: thresholds joined by all-of and any-of, and an exception; what becomes of the case?"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from isograd.isomers.schema import Edge, Node, NodeType, ReasoningGraph, Step
from isograd.isomers.symbolic.family import NUMBER, Cast, Family, Slot, Statement, Unreadable, one, sentences, words

__all__ = ["Case", "Condition", "Eligibility"]

LARGEST: Final = 19
SMALLEST: Final = 2
"""Numbers told in words are at least two, so that every noun is a plural."""
OUTCOMES: Final[Mapping[tuple[bool, bool], str]] = {
    (True, False): "accepted",
    (True, True): "reviewed",
    (False, True): "deferred",
    (False, False): "rejected",
}
"""The outcome by (rule met, exception applies)."""
JOINS: Final[Mapping[str, str]] = {"also": "and", "alternative": "or"}
OPERATORS: Final[Mapping[str, str]] = {"also": "all_of", "alternative": "any_of"}


@dataclass(frozen=True)
class Condition:
    """At least, or at most, ``bound``; the case has ``number``."""

    at_least: bool
    bound: int
    number: int

    @property
    def met(self) -> bool:
        """Whether the number keeps to the bound."""
        return self.number >= self.bound if self.at_least else self.number <= self.bound

    def __str__(self) -> str:
        return f"{self.number} {'>=' if self.at_least else '<='} {self.bound}"


@dataclass(frozen=True)
class Case:
    """The first condition, further ones each joined (``also`` or ``alternative``) to all before, and the exception."""

    first: Condition
    joined: tuple[tuple[str, Condition], ...]
    exception: Condition

    @property
    def conditions(self) -> tuple[tuple[str, Condition], ...]:
        """All conditions with the slot that tells them."""
        return (("first", self.first), *self.joined, ("exception", self.exception))

    @property
    def status(self) -> list[bool]:
        """Whether the rule is met, after each of its conditions."""
        status = [self.first.met]
        for join, condition in self.joined:
            status.append(status[-1] and condition.met if join == "also" else status[-1] or condition.met)
        return status


class Eligibility(Family[Case]):
    """Numeric conditions joined from left to right, and an exception that turns acceptance into review and rejection
    into deferral. Depth counts the rule's conditions.
    """

    name: ClassVar[str] = "eligibility"
    version: ClassVar[int] = 2
    labels: ClassVar[tuple[str, ...]] = ("accepted", "reviewed", "deferred", "rejected")
    options: ClassVar[str] = "accepted, reviewed, deferred or rejected"
    depths: ClassVar[range] = range(1, 9)
    slots: ClassVar[Mapping[str, Slot]] = {
        "holder": words(5),
        "items": words(14),
        "first": sentences("bound items n", "holder"),
        "also": sentences("bound items n", "holder"),
        "alternative": sentences("bound items n", "holder"),
        "exception": sentences("bound items n", "holder"),
        "distractor": sentences("n items", "holder"),
        "question": sentences("options", "holder"),
    }
    fields: ClassVar[Mapping[str, str]] = {
        "holder": "@holder",
        "items": "@items",
        "n": NUMBER,
        "bound": rf"at (?:least|most) {NUMBER}",
    }
    extra: ClassVar[str | None] = "items"

    def draw(self, rng: random.Random, depth: int, label: str) -> Case:
        met, excepted = next(key for key, outcome in OUTCOMES.items() if outcome == label)
        while True:
            joined = tuple((rng.choice(("also", "alternative")), _condition(rng)) for _ in range(depth - 1))
            case = Case(_condition(rng), joined, _condition(rng, met=excepted))
            if case.status[-1] == met:
                return case

    def identity(self, problem: Case) -> str:
        return " ".join(f"{slot} {condition}" for slot, condition in problem.conditions)

    def graph(self, problem: Case) -> ReasoningGraph:
        nodes: list[Node] = []
        edges: list[Edge] = []
        status = "c1"
        for number, (slot, condition) in enumerate(problem.conditions, 1):
            check, op = f"c{number}", "at_least" if condition.at_least else "at_most"
            nodes += [
                Node(id=f"n{number}", type=NodeType.ENTITY, description="a number", value=condition.number),
                Node(id=f"b{number}", type=NodeType.CONSTRAINT, description="its bound", value=condition.bound),
                Node(
                    id=check,
                    type=NodeType.PROPOSITION,
                    description="is the exception met?" if slot == "exception" else f"is condition {number} met?",
                    op=op,
                    args=(f"n{number}", f"b{number}"),
                    value=condition.met,
                ),
            ]
            edges += [
                Edge(source=f"n{number}", target=check, role="number"),
                Edge(source=f"b{number}", target=check, role="bound"),
            ]
            if slot in JOINS:
                nodes.append(
                    Node(
                        id=f"j{number}",
                        type=NodeType.PROPOSITION,
                        description=f"is the rule met after condition {number}?",
                        op=OPERATORS[slot],
                        args=(status, check),
                        value=problem.status[number - 1],
                    )
                )
                edges += [
                    Edge(source=status, target=f"j{number}", role="so far"),
                    Edge(source=check, target=f"j{number}", role="condition"),
                ]
                status = f"j{number}"
        exception = f"c{len(problem.conditions)}"
        edges += [
            Edge(source=status, target="goal", role="rule"),
            Edge(source=exception, target="goal", role="exception"),
        ]
        nodes.append(
            Node(
                id="goal",
                type=NodeType.GOAL,
                description="what becomes of the case?",
                op="outcome",
                args=(status, exception),
                value=OUTCOMES[problem.status[-1], problem.exception.met],
            )
        )
        return ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))

    def needs(self, problem: Case) -> Mapping[str, int]:
        return {"holder": 1, "items": len(problem.conditions)}

    def statements(self, problem: Case, cast: Cast) -> list[Statement]:
        return [
            Statement(
                slot,
                {
                    "holder": cast["holder"][0],
                    "items": items,
                    "n": str(condition.number),
                    "bound": f"at {'least' if condition.at_least else 'most'} {condition.bound}",
                },
            )
            for (slot, condition), items in zip(problem.conditions, cast["items"], strict=False)
        ]

    def distractor(self, cast: Cast, number: int, rng: random.Random) -> Statement:
        fields = {
            "holder": cast["holder"][0],
            "items": cast["items"][-number],
            "n": str(rng.randint(SMALLEST, LARGEST)),
        }
        return Statement("distractor", fields)

    def question(self, problem: Case, cast: Cast) -> Statement:  # noqa: ARG002
        return Statement("question", {"holder": cast["holder"][0], "options": self.options})

    def steps(self, problem: Case, cast: Cast) -> tuple[Step, ...]:  # noqa: ARG002
        steps = []
        for number, ((slot, condition), line) in enumerate(
            zip(problem.conditions, self._checks(problem), strict=True), 1
        ):
            met = _letter(condition.met)
            steps.append(Step(text=f"{line} {met}", node=f"c{number}", value=met))
            if slot in JOINS:
                before, after = (_letter(status) for status in problem.status[number - 2 : number])
                steps.append(Step(text=f"{before} {JOINS[slot]} {met} = {after}", node=f"j{number}", value=after))
        return tuple(steps)

    def notation(self, problem: Case, cast: Cast) -> tuple[str, ...]:  # noqa: ARG002
        return tuple(self._checks(problem))

    def _checks(self, problem: Case) -> list[str]:
        words = {**JOINS, "exception": "except"}
        return [
            f"{words[slot]} {condition}" if slot in words else str(condition) for slot, condition in problem.conditions
        ]

    def single_step(self, rng: random.Random) -> tuple[Case, slice, int]:
        case = self.draw(rng, 2, rng.choice(self.labels))
        checks = [number for number, step in enumerate(self.steps(case, {})) if step.node.startswith("c")]
        told = rng.randrange(len(checks))
        return case, slice(told, told + 1), checks[told]

    def understand(self, story: Sequence[Statement], question: Statement) -> tuple[Case, Cast]:
        slots = [statement.slot for statement in story]
        if len(slots) < 2 or slots[0] != "first" or slots[-1] != "exception" or not set(slots[1:-1]) <= set(JOINS):
            raise Unreadable("the story is not a first condition, further ones and an exception")
        first, *joined, exception = [
            Condition(
                at_least=s.fields["bound"].startswith("at least"),
                bound=int(s.fields["bound"].split()[-1]),
                number=int(s.fields["n"]),
            )
            for s in story
        ]
        items = [s.fields["items"] for s in story]
        if len(set(items)) < len(items):
            raise Unreadable("two conditions count the same things")
        holders = [s.fields["holder"] for s in [*story, question] if "holder" in s.fields]
        cast = {"items": items, "holder": [one(holders, "holders")] if holders else []}
        return Case(first, tuple(zip(slots[1:-1], joined, strict=True)), exception), cast


def _condition(rng: random.Random, met: bool | None = None) -> Condition:
    """A condition that is as often met as not, or as asked for."""
    wanted = rng.random() < 0.5 if met is None else met
    while True:
        condition = Condition(
            rng.random() < 0.5, rng.randint(SMALLEST + 1, LARGEST - 1), rng.randint(SMALLEST, LARGEST)
        )
        if condition.met == wanted:
            return condition


def _letter(truth: bool) -> str:
    return "T" if truth else "F"
