"""Evaluation items that are found again in a problem: verbatim, in parts, reworded in numbers and names, as a graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from isograd.isomers.graph import structure_hash
from isograd.isomers.schema import ReasoningGraph
from isograd.isomers.verify.containment import Containment, Postings
from isograd.isomers.verify.text import EXAM_WORDS, NUMBER_WORDS, STOP_WORDS, abstract, ngrams, normalize

__all__ = ["EvaluationItem", "Leak", "LeakReason", "LeakageIndex", "graph_key"]

CONTAINED_8: Final = 0.5
"""The share of an evaluation text's 8-grams that makes a leak."""
LEAST_8: Final = 8
"""Distinct 8-grams that a text needs for that; a shorter one leaks when it is equal."""
COMMON_13: Final = 10
"""A 13-gram of more evaluation items than these is a stock phrase and a sign of none of them (the rule of GPT-3,
arXiv 2005.14165, appendix C)."""
TELLING_13: Final = 4
"""Distinct words that are neither stop words nor numbers nor words of every exam, of which a 13-gram needs as many to
be a sign of anything: "which of the following is the most likely cause of this patient's symptoms" is none."""
CONTAINED_TEMPLATE: Final = 0.6
"""The share of the 5-grams of an evaluation text's template that makes a leak."""
LEAST_TEMPLATE: Final = 10
"""Distinct 5-grams that a template needs to be compared at all: below, many questions look the same."""


class LeakReason(StrEnum):
    """Why a problem counts as leaked, from the strongest sign to the weakest."""

    GRAPH = "leak_graph"
    EXACT = "leak_exact"
    NGRAM13 = "leak_ngram13"
    NGRAM8 = "leak_ngram8"
    TEMPLATE = "leak_template"


_RANK: Final = {reason: rank for rank, reason in enumerate(LeakReason)}


@dataclass(frozen=True)
class EvaluationItem:
    """One thing to be kept out of training data.

    Attributes:
        file: where it stands.
        line: its line there, from one.
        texts: the question texts of a benchmark row, or the problems of all members of an isomer set.
        graph_key: :func:`graph_key` of an isomer set; ``None`` for a benchmark row.
    """

    file: str
    line: int
    texts: tuple[str, ...]
    graph_key: str | None = None


@dataclass(frozen=True)
class Leak:
    """One evaluation item found again.

    Attributes:
        reason: what gave it away.
        file: the evaluation file.
        line: the item's line there.
        detail: the evidence, in words.
    """

    reason: LeakReason
    file: str
    line: int
    detail: str


def graph_key(graph: ReasoningGraph) -> str | None:
    """What two graphs share iff they are the same problem: structure and values, whatever the ids and the order.

    The Weisfeiler-Lehman hash of :func:`isograd.isomers.graph.structure_hash` with the values in it.

    Returns:
        24 hexadecimal digits, or ``None`` where no given has a value: then the graph names a kind of problem, which
        many share.
    """
    if all(node.value is None for node in graph.nodes if node.op is None):
        return None
    return structure_hash(graph, values=True)


class LeakageIndex:
    """Evaluation items, ready to be looked for.

    Memory is linear in their words. The time to look grows with the words of the problem and with what is found, not
    with the number of items.

    Args:
        items: what to start with; :meth:`add` takes more.
    """

    def __init__(self, items: Iterable[EvaluationItem] = ()) -> None:
        self._items: list[EvaluationItem] = []
        self._graphs: defaultdict[str, list[int]] = defaultdict(list)
        self._owner: list[int] = []  # the item of each text
        self._by_text = Postings()
        self._by_13 = Postings()
        self._by_8 = Containment(CONTAINED_8, LEAST_8)
        self._by_template = Containment(CONTAINED_TEMPLATE, LEAST_TEMPLATE)
        for item in items:
            self.add(item)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: EvaluationItem) -> None:
        """Add an item to be looked for."""
        if item.graph_key is not None:
            self._graphs[item.graph_key].append(len(self._items))
        for text in item.texts:
            number = len(self._owner)
            plain = normalize(text).split()
            self._owner.append(len(self._items))
            for key in _whole(plain):
                self._by_text.add(key, number)
            for key in set(ngrams(plain, 13)):
                self._by_13.add(key, number)
            self._by_8.add(number, set(ngrams(plain, 8)))
            self._by_template.add(number, set(ngrams(abstract(text), 5)))
        self._items.append(item)

    def find(self, texts: Sequence[str], graph_key: str | None = None) -> list[Leak]:
        """The items that are found again in a problem.

        Sets of one generator share sentences by design, so single members look alike by chance while a copied set
        looks alike throughout. Of the ``n`` members that an isomer set can have in common with the given texts,
        ``leak_ngram8`` and ``leak_template`` therefore ask for more than half, and ``leak_ngram13`` for all, because
        one sentence with the same numbers can have 13 words; where both graphs are known and differ, 13 words count
        for nothing. One is enough for ``leak_exact``, and for every reason
        where the item is a benchmark row.

        Args:
            texts: one problem, as all the texts that tell it.
            graph_key: :func:`graph_key` of its graph, if it has one.

        Returns:
            At most one leak for each reason and item, in the items' order, the strongest reason first.
        """
        leaks = [
            (place, LeakReason.GRAPH, "the same graph with the same values")
            for place in (self._graphs.get(graph_key, ()) if graph_key is not None else ())
        ]
        found: defaultdict[tuple[int, LeakReason], list[tuple[int, int, str]]] = defaultdict(list)
        for index, text in enumerate(texts):
            for reason, number, detail in self._matches(text):
                found[self._owner[number], reason].append((index, number, detail))
        for (place, reason), matches in found.items():
            item = self._items[place]
            if reason is LeakReason.NGRAM13 and graph_key is not None and item.graph_key not in (None, graph_key):
                continue  # two problems that are known to differ may well share a sentence
            alike = min(len({index for index, _, _ in matches}), len({number for _, number, _ in matches}))
            if alike >= _members_needed(reason, item, len(texts)):
                leaks.append((place, reason, matches[0][2]))
        leaks.sort(key=lambda leak: (leak[0], _RANK[leak[1]]))
        return [
            Leak(reason, self._items[place].file, self._items[place].line, detail) for place, reason, detail in leaks
        ]

    def _matches(self, text: str) -> Iterator[tuple[LeakReason, int, str]]:
        """Reason, text number and detail of each evaluation text found in a text; each pair of the first two once."""
        plain = normalize(text).split()
        for key in _whole(plain):
            for number in self._by_text.get(key):
                yield LeakReason.EXACT, number, "the same text but for capitals and punctuation"
        seen: set[int] = set()
        for start, key in enumerate(ngrams(plain, 13)):
            numbers = self._by_13.get(key)
            if not numbers or seen.issuperset(numbers):
                continue
            gram = plain[start : start + 13]
            if _telling(gram) and len({self._owner[number] for number in numbers}) <= COMMON_13:
                for number in numbers:
                    if number not in seen:
                        seen.add(number)
                        yield LeakReason.NGRAM13, number, f"13 words in a row: {' '.join(gram)}"
        for number, count, total in self._by_8.find(set(ngrams(plain, 8))):
            yield LeakReason.NGRAM8, number, f"{count} of its {total} runs of 8 words"
        for number, count, total in self._by_template.find(set(ngrams(abstract(text), 5))):
            yield LeakReason.TEMPLATE, number, f"{count} of its {total} runs of 5 words, numbers and names left out"


def _members_needed(reason: LeakReason, item: EvaluationItem, texts: int) -> int:
    """In how many texts an item must be found for a reason to count, where ``texts`` are given; see ``find``."""
    if item.graph_key is None or reason is LeakReason.EXACT:
        return 1
    common = min(texts, len(item.texts))
    return common if reason is LeakReason.NGRAM13 else common // 2 + 1


def _whole(tokens: Sequence[str]) -> Iterator[int]:
    """The hash of all tokens, if there are any."""
    return ngrams(tokens, len(tokens)) if tokens else iter(())


def _telling(gram: Iterable[str]) -> bool:
    own = {word for word in gram if word not in STOP_WORDS and word not in EXAM_WORDS and not word[0].isdigit()}
    return len(own - NUMBER_WORDS) >= TELLING_13
