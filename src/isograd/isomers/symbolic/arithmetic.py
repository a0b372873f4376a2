"""The arithmetic family: a quantity that grows, shrinks and is exchanged with a partner; how large is it in the end?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import ClassVar, Final

from isograd.isomers.schema import Edge, Node, NodeType, ReasoningGraph, Step
from isograd.isomers.symbolic.family import NUMBER, Cast, Family, Slot, Statement, Unreadable, one, sentences, words

__all__ = ["Arithmetic", "Chain"]

BANDS: Final = (5, 10, 15)
"""A last quantity under the first is low, under the second fair, under the third good, else high."""
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
    """Chains of additions and subtractions within 1 to 19; the answer is the band of the last value.

    ``receive`` and ``send`` exchange with a named partner, so their nodes take the partner as a third argument: their
    graphs differ from those of ``gain`` and ``lose`` though the sums are the same. Depth counts changes.
    """

    name: ClassVar[str] = "arithmetic"
    version: ClassVar[int] = 3
    labels: ClassVar[tuple[str, ...]] = ("low", "fair", "good", "high")
    options: ClassVar[str] = "low (under 5), fair (under 10), good (under 15) or high"
    depths: ClassVar[range] = range(1, 13)
    slots: ClassVar[Mapping[str, Slot]] = {
        "holder": words(5),
        "partner": words(5),
        "items": words(6),
        "start": sentences("holder n items"),
        "gain": sentences("n items"),
        "lose": sentences("n items"),
        "receive": sentences("n items partner"),
        "send": sentences("n items partner"),
        "distractor": sentences("n items", "partner"),
        "question": sentences("items options", "holder"),
    }
    fields: ClassVar[Mapping[str, str]] = {
        "holder": "@holder",
        "partner": "@partner",
        "items": "@items",
        "n": NUMBER,
    }

    def draw(self, rng: random.Random, depth: int, label: str) -> Chain:
        while True:
            chain = self._draw_any(rng, depth)
            if _band(chain.values[-1]) == label:
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

    def few(self) -> Iterator[Chain]:
        amounts = range(SMALLEST_AMOUNT, LARGEST_AMOUNT + 1)
        for start, operation, amount in product(range(SMALLEST_AMOUNT, LARGEST), OPERATIONS, amounts):
            chain = Chain(start, ((operation, amount),))
            if 1 <= chain.values[-1] <= LARGEST:
                yield chain

    def identity(self, problem: Chain) -> str:
        return " ".join(map(str, problem.values))

    def graph(self, problem: Chain) -> ReasoningGraph:
        nodes = [Node(id="q0", type=NodeType.ENTITY, description="the quantity at the start", value=problem.start)]
        edges = []
        if any(operation in ("receive", "send") for operation, _ in problem.changes):
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
        edges.append(Edge(source=last, target="goal", role="quantity"))
        for bound in BANDS:
            nodes.append(Node(id=f"t{bound}", type=NodeType.CONSTRAINT, description=f"the bound {bound}", value=bound))
            edges.append(Edge(source=f"t{bound}", target="goal", role="bound"))
        nodes.append(
            Node(
                id="goal",
                type=NodeType.GOAL,
                description="in which band is the last quantity?",
                op="band",
                args=(last, *(f"t{bound}" for bound in BANDS)),
                value=_band(problem.values[-1]),
            )
        )
        return ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))

    def needs(self, problem: Chain) -> Mapping[str, int]:  # noqa: ARG002
        return {"holder": 1, "partner": 1, "items": 1}

    def statements(self, problem: Chain, cast: Cast) -> list[Statement]:
        common = _common(cast)
        return [
            Statement("start", {**common, "n": str(problem.start)}),
            *(Statement(operation, {**common, "n": str(amount)}) for operation, amount in problem.changes),
        ]

    def distractor(self, cast: Cast, number: int, rng: random.Random) -> Statement:  # noqa: ARG002
        return Statement("distractor", {**_common(cast), "n": str(rng.randint(SMALLEST_AMOUNT, LARGEST))})

    def question(self, problem: Chain, cast: Cast) -> Statement:  # noqa: ARG002
        return Statement("question", {**_common(cast), "options": self.options})

    def steps(self, problem: Chain, cast: Cast) -> tuple[Step, ...]:  # noqa: ARG002
        return tuple(
            Step(text=f"{before} {_change(change)} = {after}", node=f"q{number}", value=str(after))
            for number, ((before, after), change) in enumerate(
                zip(pairwise(problem.values), problem.changes, strict=True), 1
            )
        )

    def notation(self, problem: Chain, cast: Cast) -> tuple[str, ...]:  # noqa: ARG002
        return (str(problem.start), *(_change(change) for change in problem.changes))

    def understand(self, story: Sequence[Statement], question: Statement) -> tuple[Chain, Cast]:
        if not story or story[0].slot != "start" or any(statement.slot not in SIGNS for statement in story[1:]):
            raise Unreadable("the story is not a start and its changes")
        told = [*story, question]
        chain = Chain(int(story[0].fields["n"]), tuple((s.slot, int(s.fields["n"])) for s in story[1:]))
        cast = {"holder": [one((s.fields["holder"] for s in told if "holder" in s.fields), "holders")]}
        cast["items"] = [one((s.fields["items"] for s in told), "kinds of items")]
        if any(s.slot in ("receive", "send") for s in story):
            cast["partner"] = [one((s.fields["partner"] for s in story if "partner" in s.fields), "partners")]
        if not all(1 <= value <= LARGEST for value in chain.values):
            raise Unreadable(f"a quantity is below 1 or above {LARGEST}")
        return chain, cast


def _common(cast: Cast) -> dict[str, str]:
    return {slot: cast[slot][0] for slot in ("holder", "partner", "items")}


def _change(change: tuple[str, int]) -> str:
    operation, amount = change
    return f"{'+' if SIGNS[operation] > 0 else '-'} {amount}"


def _band(value: int) -> str:
    return Arithmetic.labels[sum(value >= bound for bound in BANDS)]
