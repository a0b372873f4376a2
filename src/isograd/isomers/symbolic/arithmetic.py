"""The arithmetic family: a quantity that grows, shrinks and is exchanged with a partner; does it reach a threshold?"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from isograd.isomers.schema import Edge, Node, NodeType, ReasoningGraph, Step
from isograd.isomers.symbolic.domains import Domain, Slot
from isograd.isomers.symbolic.family import Family, Telling

__all__ = ["Arithmetic", "Chain"]

THRESHOLD: Final = 10
LARGEST: Final = 19
SMALLEST_AMOUNT: Final = 2
"""Amounts told in words are at least two, so that every noun is a plural."""
LARGEST_AMOUNT: Final = 9
SIGNS: Final[Mapping[str, int]] = {"gain": 1, "lose": -1, "receive": 1, "send": -1}
OPERATIONS: Final = tuple(SIGNS)


@dataclass(frozen=True)
class Chain:
    """A start quantity and the changes made to it, in order: (operation, amount) pairs."""

    start: int
    changes: tuple[tuple[str, int], ...]

    @property
    def values(self) -> tuple[int, ...]:
        """The quantity at the start and after each change."""
        values = [self.start]
        for operation, amount in self.changes:
            values.append(values[-1] + SIGNS[operation] * amount)
        return tuple(values)


class Arithmetic(Family[Chain]):
    """Chains of additions and subtractions within 1 to 19; "yes" iff the last value is at least 10.

    ``receive`` and ``send`` exchange with a named partner, so their nodes take the partner as a third argument: their
    graphs differ from those of ``gain`` and ``lose`` though the sums are the same.
    """

    name: ClassVar[str] = "arithmetic"
    version: ClassVar[int] = 1
    labels: ClassVar[tuple[str, ...]] = ("no", "yes")
    slots: ClassVar[Mapping[str, Slot]] = {
        "holder": Slot(template=False),
        "partner": Slot(template=False),
        "items": Slot(template=False),
        "start": Slot(placeholders=frozenset({"holder", "n", "items"})),
        "gain": Slot(placeholders=frozenset({"n", "items"})),
        "lose": Slot(placeholders=frozenset({"n", "items"})),
        "receive": Slot(placeholders=frozenset({"n", "items", "partner"})),
        "send": Slot(placeholders=frozenset({"n", "items", "partner"})),
        "distractor": Slot(placeholders=frozenset({"n", "items"}), optional=frozenset({"partner"})),
        "question": Slot(placeholders=frozenset({"threshold", "items"}), optional=frozenset({"holder"})),
    }

    def draw(self, rng: random.Random, depth: int, label: str) -> Chain:
        while True:
            chain = self._draw_any(rng, depth)
            if (chain.values[-1] >= THRESHOLD) == (label == "yes"):
                return chain

    def _draw_any(self, rng: random.Random, depth: int) -> Chain:
        start = value = rng.randint(SMALLEST_AMOUNT, LARGEST - 1)
        changes: list[tuple[str, int]] = []
        while len(changes) < depth:
            operation, amount = rng.choice(OPERATIONS), rng.randint(SMALLEST_AMOUNT, LARGEST_AMOUNT)
            if 1 <= value + SIGNS[operation] * amount <= LARGEST:
                changes.append((operation, amount))
                value += SIGNS[operation] * amount
        return Chain(start, tuple(changes))

    def identity(self, problem: Chain) -> str:
        return " ".join(map(str, problem.values))

    def graph(self, problem: Chain) -> ReasoningGraph:
        nodes = [Node(id="q0", type=NodeType.ENTITY, description="the quantity at the start", value=problem.start)]
        edges = []
        exchanged = any(operation in ("receive", "send") for operation, _ in problem.changes)
        if exchanged:
            nodes.append(Node(id="p", type=NodeType.ENTITY, description="the partner of exchanges"))
        for number, ((operation, amount), value) in enumerate(zip(problem.changes, problem.values[1:], strict=True), 1):
            before, given, after = f"q{number - 1}", f"a{number}", f"q{number}"
            arguments = [before, given]
            edges += [
                Edge(source=before, target=after, role="quantity"),
                Edge(source=given, target=after, role="amount"),
            ]
            if operation in ("receive", "send"):
                arguments.append("p")
                edges.append(Edge(source="p", target=after, role="partner"))
            nodes += [
                Node(id=given, type=NodeType.RELATION, description=f"the amount of change {number}", value=amount),
                Node(
                    id=after,
                    type=NodeType.PROPOSITION,
                    description=f"the quantity after change {number}",
                    op=operation,
                    args=tuple(arguments),
                    value=value,
                ),
            ]
        last = f"q{len(problem.changes)}"
        edges += [
            Edge(source=last, target="goal", role="quantity"),
            Edge(source="t", target="goal", role="threshold"),
        ]
        nodes += [
            Node(id="t", type=NodeType.CONSTRAINT, description="the threshold", value=THRESHOLD),
            Node(
                id="goal",
                type=NodeType.GOAL,
                description="does the last quantity reach the threshold?",
                op="at_least",
                args=(last, "t"),
                value=problem.values[-1] >= THRESHOLD,
            ),
        ]
        return ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))

    def tell(self, problem: Chain, domain: Domain, rng: random.Random, *, held_out: bool, distractors: int) -> Telling:
        words = domain.words[self.name]
        common = {
            "holder": rng.choice(words["holder"]),
            "partner": rng.choice(words["partner"]),
            "items": rng.choice(words["items"]),
        }

        def sentence(slot: str, **values: int) -> str:
            return rng.choice(domain.templates(self.name, slot, held_out=held_out)).format(**common, **values)

        sentences = [sentence("start", n=problem.start)]
        sentences += [sentence(operation, n=amount) for operation, amount in problem.changes]
        for _ in range(distractors):
            # Never first: the story opens with the quantity it is about.
            sentences.insert(
                rng.randint(1, len(sentences)), sentence("distractor", n=rng.randint(SMALLEST_AMOUNT, LARGEST))
            )
        return Telling(
            tuple(sentences), sentence("question", threshold=THRESHOLD), equation_steps(problem.start, problem.changes)
        )


def equation_steps(start: int, changes: tuple[tuple[str, int], ...]) -> tuple[Step, ...]:
    """The chain of thought as equations: ``7 + 5 = 12``."""
    steps, value = [], start
    for number, (operation, amount) in enumerate(changes, 1):
        sign = "+" if SIGNS[operation] > 0 else "-"
        after = value + SIGNS[operation] * amount
        steps.append(Step(text=f"{value} {sign} {amount} = {after}", node=f"q{number}", value=str(after)))
        value = after
    return tuple(steps)
