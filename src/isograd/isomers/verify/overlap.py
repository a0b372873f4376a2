"""How many content words the members of a set share."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from isograd.isomers.verify.text import content_words

__all__ = ["jaccard", "pairwise"]


def jaccard(first: str, second: str) -> float:
    """Jaccard index of the content words of two texts: shared words over all words, from 0 to 1.

    Stop words and numbers are left out: they belong to no domain. Two texts without content words are equal as far
    as this can see, so their index is 1.
    """
    return _index(content_words(first), content_words(second))


def pairwise(texts: Mapping[str, str], common: frozenset[str] = frozenset()) -> dict[tuple[str, str], float]:
    """:func:`jaccard` of each pair of domains.

    Args:
        texts: text by domain.
        common: words that belong to no domain either: the possible answers, say, which a question lists.

    Returns:
        Index by (first, second) domain, in the mapping's order; empty for fewer than two domains.
    """
    found = {domain: content_words(text) - common for domain, text in texts.items()}
    return {(first, second): _index(found[first], found[second]) for first, second in combinations(found, 2)}


def _index(first: frozenset[str], second: frozenset[str]) -> float:
    union = first | second
    return len(first & second) / len(union) if union else 1.0
