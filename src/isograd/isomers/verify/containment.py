"""Which of many sets of keys lie, in good part, within a given set: a search that leaves common keys aside."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Set
from typing import Final

__all__ = ["Containment", "Postings"]

import os

FRAC = float(os.environ.get("FRAC", ".5"))
_SKETCH: Final = 1 << 20
"""Counters of how often keys were seen; keys that share one look more common than they are, which costs time only."""


class Postings:
    """Numbers by key, in the order of adding. Most keys have one number, so one is kept without a list around it."""

    def __init__(self) -> None:
        self._one: dict[int, int] = {}
        self._many: dict[int, list[int]] = {}

    def add(self, key: int, number: int) -> None:
        """Note that ``number`` has ``key``; once for each pair."""
        if key in self._many:
            self._many[key].append(number)
        elif key in self._one:
            self._many[key] = [self._one.pop(key), number]
        else:
            self._one[key] = number

    def get(self, key: int) -> list[int]:
        """The numbers that have the key."""
        number = self._one.get(key)
        return self._many.get(key, []) if number is None else [number]

    def counts(self, keys: Set[int]) -> Counter[int]:
        """How many of the keys each number has."""
        one, many = self._one, self._many
        found: Counter[int] = Counter(one[key] for key in keys & one.keys())
        for key in keys & many.keys():
            found.update(many[key])
        return found


class Containment:
    """Numbered sets of keys; finds those of which at least a share lies within another set.

    A set of ``m`` keys needs ``k = ceil(share * m)`` of them to be found. Whichever ``m - k + j`` keys are looked at,
    at least ``j`` of those must then be there (prefix filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006). The rarest
    are looked at, so that sentences which all sets share cost little, and only what has ``j`` hits is counted in full.

    Args:
        share: from above 0 to 1.
        least: the fewest keys with which a set can be found; smaller ones are not kept.
    """

    def __init__(self, share: float, least: int) -> None:
        self._share = share
        self._least = least
        self._keys: dict[int, array[int]] = {}
        self._rare = Postings()
        self._seen = array("L", bytes(array("L").itemsize * _SKETCH))

    def add(self, number: int, keys: Set[int]) -> None:
        """Keep a set under a number, each number once."""
        if len(keys) < self._least:
            return
        seen = self._seen
        ordered = sorted(keys, key=lambda key: (seen[key % _SKETCH], key))
        self._keys[number] = array("Q", ordered)
        needed = math.ceil(self._share * len(keys))
        for key in ordered[: len(keys) - needed + _hits(needed)]:
            self._rare.add(key, number)
        for key in keys:
            seen[key % _SKETCH] += 1

    def find(self, keys: Set[int]) -> Iterator[tuple[int, int, int]]:
        """The number of each kept set found in ``keys``, how many of its keys are there, and how many it has."""
        for number, hits in self._rare.counts(keys).items():
            kept = self._keys[number]
            needed = math.ceil(self._share * len(kept))
            if hits >= _hits(needed):
                count = len(keys & set(kept))
                if count >= needed:
                    yield number, count, len(kept)


def _hits(needed: int) -> int:
    # Fewer let too many sets through to be counted, more make too many keys be looked at; half is fast for both.
    return (needed + 1) // 2
