"""The ordering family: who stands how far from whom in one line; in which place is the last one named?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import ClassVar, Final

from isograd.isomers.schema import Edge, Node, NodeType, ReasoningGraph, Step
from isograd.isomers.symbolic.family import Cast, Family, Slot, Statement, Unreadable, one, sentences, words

__all__ = ["Line", "Ordering"]

ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
GAPS: Final = ("one place", *(f"{n} places" for n in ("two", "three", "four", "five", "six", "seven", "eight")))


@dataclass(frozen=True)
class Line:
    """Places, from 1, of those in the line, in the order in which they are named."""

    places: tuple[int, ...]


class Ordering(Family[Line]):
    """A line of nine places: one place is given, each further one relative to the one before; no two share a place.

    The one asked for stands in one of the first five. Depth counts relations.
    """

    name: ClassVar[str] = "ordering"
    version: ClassVar[int] = 2
    labels: ClassVar[tuple[str, ...]] = ORDINALS[:5]
    options: ClassVar[str] = "first, second, third, fourth or fifth"
    depths: ClassVar[range] = range(2, 9)
    slots: ClassVar[Mapping[str, Slot]] = {
        "name": words(12),
        "start": sentences("a place"),
        "after": sentences("b a gap"),
        "before": sentences("b a gap"),
        "distractor": sentences("other"),
        "question": sentences("b options"),
    }
    fields: ClassVar[Mapping[str, str]] = {
        "a": "@name",
        "b": "@name",
        "other": "@name",
        "place": "(?:" + "|".join(ORDINALS) + ")",
        "gap": "(?:" + "|".join(GAPS) + ")",
    }
    extra: ClassVar[str | None] = "name"
    shuffles: ClassVar[bool] = True

    def draw(self, rng: random.Random, depth: int, label: str) -> Line:
        last = ORDINALS.index(label) + 1
        others = rng.sample([place for place in range(1, len(ORDINALS) + 1) if place != last], depth)
        return Line((*others, last))

    def few(self) -> Iterator[Line]:
        for places in permutations(range(1, len(ORDINALS) + 1), min(self.depths) + 1):
            if places[-1] <= len(self.labels):
                yield Line(places)

    def identity(self, problem: Line) -> str:
        return " ".join(map(str, problem.places))

    def graph(self, problem: Line) -> ReasoningGraph:
        nodes = [Node(id="p0", type=NodeType.ENTITY, description="the place of the first", value=problem.places[0])]
        edges = []
        for number, (before, after) in enumerate(pairwise(problem.places), 1):
            nodes += [
                Node(id=f"g{number}", type=NodeType.RELATION, description="how far apart", value=abs(after - before)),
                Node(
                    id=f"p{number}",
                    type=NodeType.PROPOSITION,
                    description=f"the place of number {number + 1}",
                    op="after" if after > before else "before",
                    args=(f"p{number - 1}", f"g{number}"),
                    value=after,
                ),
            ]
            edges += [
                Edge(source=f"p{number - 1}", target=f"p{number}", role="reference"),
                Edge(source=f"g{number}", target=f"p{number}", role="gap"),
            ]
        last = f"p{len(problem.places) - 1}"
        edges.append(Edge(source=last, target="goal", role="place"))
        nodes.append(
            Node(
                id="goal",
                type=NodeType.GOAL,
                description="in which place is the last one named?",
                op="ordinal",
                args=(last,),
                value=ORDINALS[problem.places[-1] - 1],
            )
        )
        return ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))

    def needs(self, problem: Line) -> Mapping[str, int]:
        return {"name": len(problem.places)}

    def statements(self, problem: Line, cast: Cast) -> list[Statement]:
        names = cast["name"]
        story = [Statement("start", {"a": names[0], "place": ORDINALS[problem.places[0] - 1]})]
        for number, (before, after) in enumerate(pairwise(problem.places), 1):
            slot = "after" if after > before else "before"
            fields = {"a": names[number - 1], "b": names[number], "gap": GAPS[abs(after - before) - 1]}
            story.append(Statement(slot, fields))
        return story

    def distractor(self, cast: Cast, number: int, rng: random.Random) -> Statement:  # noqa: ARG002
        return Statement("distractor", {"other": cast["name"][-number]})

    def question(self, problem: Line, cast: Cast) -> Statement:
        return Statement("question", {"b": cast["name"][len(problem.places) - 1], "options": self.options})

    def steps(self, problem: Line, cast: Cast) -> tuple[Step, ...]:
        return tuple(
            Step(
                text=f"{cast['name'][number]} {before} {_shift(before, after)} = {after}",
                node=f"p{number}",
                value=str(after),
            )
            for number, (before, after) in enumerate(pairwise(problem.places), 1)
        )

    def notation(self, problem: Line, cast: Cast) -> tuple[str, ...]:
        names = cast["name"]
        return (
            f"{names[0]} = {problem.places[0]}",
            *(
                f"{names[number]} = {names[number - 1]} {_shift(before, after)}"
                for number, (before, after) in enumerate(pairwise(problem.places), 1)
            ),
        )

    def understand(self, story: Sequence[Statement], question: Statement) -> tuple[Line, Cast]:
        first = one((s.fields["a"] for s in story if s.slot == "start"), "first places")
        places = {s.fields["a"]: ORDINALS.index(s.fields["place"]) + 1 for s in story if s.slot == "start"}
        relations = [s for s in story if s.slot in ("after", "before")]
        following = {s.fields["a"]: s for s in relations}
        if len(following) < len(relations) or len(story) != len(relations) + 1:
            raise Unreadable("the sentences do not make one chain")
        current, names = first, [first]
        while current in following:
            relation = following.pop(current)
            gap = GAPS.index(relation.fields["gap"]) + 1
            name = relation.fields["b"]
            if name in places:
                raise Unreadable(f"{name!r} is placed twice")
            places[name] = places[current] + (gap if relation.slot == "after" else -gap)
            names.append(name)
            current = name
        if following or question.fields["b"] != current:
            raise Unreadable("the sentences do not lead from the first to the one asked for")
        line = Line(tuple(places[name] for name in names))
        if not set(line.places) <= set(range(1, len(ORDINALS) + 1)) or len(set(line.places)) < len(line.places):
            raise Unreadable("a place is outside the line or taken twice")
        if line.places[-1] > len(self.labels):
            raise Unreadable("the place asked for is none of the answers")
        return line, {"name": names}


def _shift(before: int, after: int) -> str:
    return f"{'+' if after > before else '-'} {abs(after - before)}"
