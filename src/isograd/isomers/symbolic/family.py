"""What a family of problems must offer: draw a problem, name its identity, build its graph, tell it in a domain."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from isograd.isomers.schema import ReasoningGraph, Step
from isograd.isomers.symbolic.domains import Domain, Slot

__all__ = ["Family", "Telling"]

Problem = TypeVar("Problem", bound=Hashable)


@dataclass(frozen=True)
class Telling:
    """A problem in words, before cues are planted.

    Attributes:
        sentences: the story, each without its final period.
        question: the question, with its mark.
        steps: the chain of thought; each step's ``value`` is the last thing its ``text`` says.
    """

    sentences: tuple[str, ...]
    question: str
    steps: tuple[Step, ...]


class Family(ABC, Generic[Problem]):
    """One kind of logic. A new family is one module with a subclass, and a line in the registry.

    Attributes:
        name: its name, also the name of its section in the domain files.
        version: part of every seed; raise it whenever the same seed would give different items.
        labels: the possible answers.
        slots: what each domain file must provide.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    labels: ClassVar[tuple[str, ...]]
    slots: ClassVar[Mapping[str, Slot]]

    @abstractmethod
    def draw(self, rng: random.Random, depth: int, label: str) -> Problem:
        """Draw a problem with ``depth`` steps and the given true answer: plain, hashable data."""

    @abstractmethod
    def identity(self, problem: Problem) -> str:
        """A text equal for two problems iff they have the same values; it decides the split a problem belongs to."""

    @abstractmethod
    def graph(self, problem: Problem) -> ReasoningGraph:
        """The problem's executable reasoning graph."""

    @abstractmethod
    def tell(
        self, problem: Problem, domain: Domain, rng: random.Random, *, held_out: bool, distractors: int
    ) -> Telling:
        """Tell the problem in a domain's words.

        Args:
            problem: as drawn.
            domain: checked to be complete for this family.
            rng: chooses words and templates.
            held_out: use the held-out templates alone.
            distractors: how many irrelevant sentences to add.
        """
