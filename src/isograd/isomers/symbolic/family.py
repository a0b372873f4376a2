"""What a family of problems must offer: draw a problem, build its graph, say it in words, and read the words back."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from isograd.isomers.schema import ReasoningGraph, Step

__all__ = ["NUMBER", "Cast", "Family", "Slot", "Statement", "Unreadable"]

Problem = TypeVar("Problem", bound=Hashable)

Cast = Mapping[str, Sequence[str]]
"""The words chosen for one telling: for each word list of the family, as many different entries as it needs."""

NUMBER = r"[1-9][0-9]{0,3}"
"""A number in a sentence, as a regular expression."""

MIN_TEMPLATES = 6
"""Fewest entries of a template slot: five to train on and the last one held out for the ``ood_template`` split."""


class Unreadable(ValueError):  # noqa: N818
    """Statements that do not make a problem of the family; the message says why."""


@dataclass(frozen=True)
class Slot:
    """What a family asks of every domain under one name.

    Attributes:
        required: placeholders that each sentence template must use; empty for a plain word list.
        optional: placeholders that a template may use.
        fewest: entries that are needed at least.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    fewest: int = MIN_TEMPLATES

    @property
    def template(self) -> bool:
        """Whether the entries are sentence templates and not a plain word list."""
        return bool(self.required)


def sentences(required: str, optional: str = "") -> Slot:
    """A slot of sentence templates; placeholders separated by blanks."""
    return Slot(frozenset(required.split()), frozenset(optional.split()))


def words(fewest: int) -> Slot:
    """A plain word list."""
    return Slot(fewest=fewest)


@dataclass(frozen=True)
class Statement:
    """One thing to say: the slot whose templates say it, and what fills their placeholders."""

    slot: str
    fields: Mapping[str, str]


class Family(ABC, Generic[Problem]):
    """One kind of logic. A new family is one module with a subclass, and a line in the registry.

    Telling and reading are inverse: ``understand(statements(problem, cast))`` gives back the problem and its cast.
    The verifier relies on it: it reads every member's own words and compares what they say with the set's graph.

    Attributes:
        name: its name, also the name of its section in the domain files.
        version: part of every seed; raise it whenever the same seed would give different items.
        labels: the possible answers.
        options: the answers as a question lists them.
        depths: the depths it can draw; the smallest is the easiest for which every split has problems of its own.
        slots: what each domain file must provide. Every family has the slots ``distractor`` and ``question``.
        fields: for each placeholder a regular expression of what can fill it, with ``@list`` for the entries of a
            plain word list.
        extra: the word list whose entries distractors use up, if any.
        shuffles: whether the sentences mean the same in any order.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    labels: ClassVar[tuple[str, ...]]
    options: ClassVar[str]
    depths: ClassVar[range]
    slots: ClassVar[Mapping[str, Slot]]
    fields: ClassVar[Mapping[str, str]]
    extra: ClassVar[str | None] = None
    shuffles: ClassVar[bool] = False

    @abstractmethod
    def draw(self, rng: random.Random, depth: int, label: str) -> Problem:
        """Draw a problem of the given depth and true answer: plain, hashable data."""

    def few(self) -> Iterable[Problem]:
        """All problems of the least depth, where they are so few that some split could go without; else nothing."""
        return ()

    @abstractmethod
    def identity(self, problem: Problem) -> str:
        """A text equal for two problems whose graphs are isomorphic, values included.

        It decides the split that a problem belongs to, so no two splits share such a graph.
        """

    @abstractmethod
    def graph(self, problem: Problem) -> ReasoningGraph:
        """The problem's executable reasoning graph; the GOAL's value is the true answer, one of ``labels``."""

    def answer(self, problem: Problem) -> str:
        """The true answer."""
        return str(self.graph(problem).goal.value)

    @abstractmethod
    def needs(self, problem: Problem) -> Mapping[str, int]:
        """How many different words of each plain list a telling of the problem takes, distractors aside."""

    @abstractmethod
    def statements(self, problem: Problem, cast: Cast) -> list[Statement]:
        """The story, in the order of its steps."""

    @abstractmethod
    def distractor(self, cast: Cast, number: int, rng: random.Random) -> Statement:
        """The ``number``-th irrelevant statement."""

    @abstractmethod
    def question(self, problem: Problem, cast: Cast) -> Statement:
        """What is asked."""

    @abstractmethod
    def steps(self, problem: Problem, cast: Cast) -> tuple[Step, ...]:
        """The chain of thought; each step's ``value`` is the last thing its ``text`` says."""

    @abstractmethod
    def notation(self, problem: Problem, cast: Cast) -> tuple[str, ...]:
        """Each statement of the story in neutral symbols, in the same order."""

    def single_step(self, rng: random.Random) -> tuple[Problem, slice, int]:
        """A problem, the part of its story that suffices for one step, and which step that is."""
        return self.draw(rng, 1, rng.choice(self.labels)), slice(None), 0

    @abstractmethod
    def understand(self, story: Sequence[Statement], question: Statement) -> tuple[Problem, Cast]:
        """Rebuild the problem, and the words that tell it, from statements without distractors.

        Raises:
            Unreadable: they do not make a problem.
        """


def one(values: Iterable[str], what: str) -> str:
    """The one value that statements agree on.

    Raises:
        Unreadable: they do not agree, or there is none.
    """
    found = sorted(set(values))
    if len(found) != 1:
        raise Unreadable(f"the sentences name {len(found)} {what}: {', '.join(found) or 'none'}")
    return found[0]
